"""`reward-model report`: the pages of a run in one, each with its own scripts; nothing foreign."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from pathlib import Path

import pytest
from browsing import CHROMIUM, browser
from commands import run
from page_text import language_of

from reward_model.records.page.report import find_pages

HASH = re.compile(r"'sha256-[^']+'")

SECTION = """<section class="answer fair" aria-label="Verdict">
<p class="verdict">Ready: <b>with care</b></p></section>
<h2 id="n1">Numbers &amp; <b>bars</b></h2>
<details><summary>one</summary><p>folded</p><details><summary>two</summary>deep</details></details>
"""


def policy(page: str) -> str:
    found = re.search(r'Security-Policy" content="([^"]+)"', page)
    assert found
    return unescape(found[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a run leaves: two pages of ours, in and below the folder, and one of somebody else's."""
    from reward_model.records.page import render

    (tmp_path / "below").mkdir()
    for name, title in (("below/b.html", "Evaluation of policies"), ("a.html", "Other")):
        page = render(
            "reward_model.records.page",
            "report",
            folder=title,
            pages=[],
        )
        page = page.replace("Report of ", "").replace('<meta name="data-report" content="0">', "")
        page = page.replace("</main>", f"{SECTION}</main>")
        (tmp_path / name).write_text(page, "utf-8")
    (tmp_path / "foreign.html").write_text("<h1>mine</h1><script>alert(1)</script>", "utf-8")
    return tmp_path


def test_pages_are_joined_with_contents_and_their_own_scripts(folder: Path) -> None:
    done = run("reward-model", "report", folder)
    assert done.code == 0, done.stderr
    text = (folder / "report.html").read_text("utf-8")
    titles = re.findall(r'<a href="#page-\d">([^<]+)</a>', text)
    assert titles == ["Evaluation of policies", "Other"]
    assert (
        re.findall(r'<p class="(\w+)">(Ready: with care)</p>', text)
        == [("fair", "Ready: with care")] * 2
    )
    targets = set(re.findall(r'<a href="#([^"]+)"', text))
    assert "contents" in targets
    assert targets <= set(re.findall(r'\bid="([^"]+)"', text))
    assert re.findall(r'data-section="n1">([^<]+)<', text) == ["Numbers &amp; bars"] * 2
    frames = [unescape(found) for found in re.findall(r'srcdoc="([^"]*)"', text)]
    assert frames[0] == (folder / "below" / "b.html").read_text("utf-8")
    for frame in frames:
        assert set(HASH.findall(policy(frame))) <= set(HASH.findall(policy(text)))
    assert "alert(1)" not in unescape(text)
    assert "<script>alert" not in text
    done = run(
        "reward-model", "report", folder, "--page-language", "zh", "--out", folder / "zh.html"
    )
    chinese = (folder / "zh.html").read_text("utf-8")
    assert done.code == 0
    assert ("目录" in chinese, language_of(chinese)) == (True, "zh")
    (folder / "zh.html").unlink()
    # Run again, it is made of the same pages, not of itself.
    assert run("reward-model", "report", folder).code == 0
    assert (folder / "report.html").read_text("utf-8") == text
    assert [path.name for path in find_pages(folder)] == ["a.html", "b.html"]


def test_what_cannot_be_joined_is_said(tmp_path: Path) -> None:
    missing = run("reward-model", "report", tmp_path / "none")
    assert missing.code == 2
    assert "found no folder; expected a folder of pages" in missing.stderr
    (tmp_path / "foreign.html").write_text("<h1>mine</h1>")
    empty = run("reward-model", "report", tmp_path)
    assert empty.code == 2
    assert "found no page in the folder" in empty.stderr
    assert not (tmp_path / "report.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_on_paper_pages_flow_and_are_unfolded(folder: Path, tmp_path: Path) -> None:
    assert run("reward-model", "report", folder).code == 0
    printed = """(() => {
      dispatchEvent(new Event("beforeprint"));
      const flows = [...document.querySelectorAll(".printed")].map((flow) => flow.shadowRoot);
      const said = flows.map((flow) => [
        flow.querySelector("h1").textContent,
        getComputedStyle(flow.querySelector("h1")).fontWeight,
        [...flow.querySelectorAll("details")].map((one) => one.open),
      ]);
      dispatchEvent(new Event("afterprint"));
      return [said, document.querySelectorAll(".printed").length];
    })()"""

    async def look() -> None:
        async with browser(tmp_path / "profile") as tab:
            await tab.open((folder / "report.html").as_uri())
            await tab.until(
                "[...document.querySelectorAll('iframe')].every(f => f.contentDocument.body"
                " && f.contentDocument.querySelector('h1'))"
            )
            said, left = await tab.run(printed)
            assert said == [
                ["Evaluation of policies", "700", [True, False]],
                ["Other", "700", [True, False]],
            ]
            assert left == 0
            assert not tab.said

    asyncio.run(look())
