"""Pages: nothing quoted in them is live, plots follow the page, the same input is the same page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.records.page import Plot, json_island, plot, render
from reward_model.records.page.plots import INK

ATTACK = '</script><script>alert(1)</script><img src=x onerror="alert(2)"><!--'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "somepages"
    (folder / "templates").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "templates" / "demo.html.j2").write_text(
        '{% extends "base.html.j2" %}{% block title %}{{ title }}{% endblock %}'
        '{% block main %}<p title="{{ title }}">{{ title }}</p><p class="said">'
        "{{ title|code }}</p>{% if figure %}{{ figure|svg }}"
        "{% endif %}<p>{{ none|number }} {{ 1.239|number }} {{ 0.5|percent }}</p>{% endblock %}"
    )
    (folder / "templates" / "demo.js").write_text("pageData();")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "somepages"
    sys.modules.pop("somepages", None)


class Elements(HTMLParser):
    """What a browser would build: elements with their attributes, texts of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.cdata_elem in self.raw:
            self.raw[self.cdata_elem][-1] += data


def test_quoted_markup_stays_text(package: str) -> None:
    page = render(package, "demo", title=ATTACK, none=None, figure=None, data={"text": ATTACK})
    elements = Elements(page)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert not [tag for tag, _ in elements.found if tag == "img"]
    assert not [a for _, a in elements.found if any(name.startswith("on") for name in a)]
    assert json.loads(elements.raw["script"][0]) == {"text": ATTACK}


def test_policy_allows_exactly_our_script_and_style(package: str) -> None:
    page = render(package, "demo", title="x", none=None, figure=None)
    elements = Elements(page)
    policy = next(a["content"] for tag, a in elements.found if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "unsafe" not in policy
    for text in (elements.raw["script"][-1], elements.raw["style"][0]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_commands_and_flags_in_a_sentence_are_code(package: str) -> None:
    sentence = "compare with `judge agree --out a`, or <b> (--abstain) x--y"
    page = render(package, "demo", title=sentence, none=None, figure=None)
    assert (
        '<p class="said">compare with <code>judge agree --out a</code>, or &lt;b&gt; '
        '(<code class="flag">--abstain</code>) x--y</p>'
    ) in page


def test_missing_numbers_are_dashes(package: str) -> None:
    page = render(package, "demo", title="x", none=None, figure=None)
    assert "<p>– 1.24 50%</p>" in page


def draw() -> Plot:
    with plot("demo", 'Gaps <of> "pairs"', width=4, height=2) as drawing:
        drawing.axes.bar([0, 1], [3, 4])
        drawing.axes.set_title("浅化深度 <b>")
    return drawing


def test_plot_follows_the_page() -> None:
    svg = draw().svg
    assert "style" not in svg
    assert INK not in svg
    assert "currentColor" in svg
    assert "浅化深度 &lt;b&gt;" in svg
    assert 'aria-label="Gaps &lt;of&gt; &quot;pairs&quot;"' in svg
    assert set(re.findall(r'id="([^"]*)"', svg)) >= set(re.findall(r"url\(#([^)]*)\)", svg))


def test_plot_repeats() -> None:
    assert draw().svg == draw().svg


@given(st.recursive(st.text() | st.integers() | st.none(), lambda s: st.lists(s)))
def test_json_island_keeps_every_text(value: object) -> None:
    text = json_island(value)
    assert json.loads(text) == value
    assert "<" not in text
    assert ">" not in text
