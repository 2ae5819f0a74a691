"""The pages of a run in one: `report(paths)` is a page with contents that holds them whole.

Each page keeps its own scripts and styles in a frame of its own, so that nothing in it has to be
renamed; what is copied from one to the other are headings and verdicts, for the contents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import NamedTuple

from reward_model.records.page.phrases import PageLanguage, phrases
from reward_model.records.page.render import render

POLICY = b'content="default-src &#39;none&#39;; script-src &#39;sha256-'
"""Stands in the head of every page of ours, also of those of earlier versions."""
MARK = b"data-report"
"""Stands in the head of a page that is made of others, and is not made part of another."""
ORDER = (
    ("Validation", "打分数据的验证"),
    ("Evaluation of a reward model", "奖励模型的评测"),
    ("Rewards", "奖励在基准上的表现"),
    ("Evaluation of policies", "策略评测"),
)
"""How the titles of the first pages begin; the others follow by their paths."""
_HEADING = re.compile(r"<h1[^>]*>(.*?)</h1>", re.S)
_SECTION = re.compile(r'<h2 id="([^"]+)"[^>]*>(.*?)</h2>', re.S)

_VERDICT = re.compile(r'<section class="answer ?(\w*)"[^>]*>\s*<p class="verdict">(.*?)</p>', re.S)


class Page(NamedTuple):
    """One page as the joined one shows it."""

    path: str
    title: str
    sections: list[tuple[str, str]]
    """Id and heading."""
    verdict: str
    """What it begins with, and `good`, `fair`, `bad` or nothing; empty where it gives none."""
    tone: str
    text: str
    """All of it."""


def find_pages(folder: Path) -> list[Path]:
    """Pages of ours below a folder."""
    found = []
    for path in sorted(folder.rglob("*.html")):
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(2000)
            if POLICY in head and MARK not in head:
                found.append(path)
    return found


def report(folder: Path, paths: Sequence[Path], language: PageLanguage = "en") -> str:
    """One page with contents that holds others whole; their paths are told from `folder` on."""
    pages = [_page(folder, path) for path in paths]

    def place(page: Page) -> tuple[int, str]:
        known = [i for i, title in enumerate(ORDER) if page.title.startswith(title)]
        return (known[0] if known else len(ORDER), page.path)

    pages.sort(key=place)
    return render(
        "reward_model.records.page",
        "report",
        say=phrases("reward_model.records.page", "report", language),
        within=[page.text for page in pages],
        folder=folder.resolve().name,
        pages=pages,
    )


def _page(folder: Path, path: Path) -> Page:
    text = path.read_text("utf-8")
    title = _HEADING.search(text)
    # Scripts hold headings of their own making, which are no sections.
    body = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    sections = [(found[1], _words(found[2])) for found in _SECTION.finditer(body)]
    name = path.relative_to(folder).as_posix()
    verdict = _VERDICT.search(body)
    said = (_words(verdict[2]), verdict[1]) if verdict else ("", "")
    return Page(name, _words(title[1]) if title else name, sections, *said, text)


def _words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
