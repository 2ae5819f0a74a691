"""The page: nothing in a report runs, differences join up to the text, the viewer has its data."""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from page_text import english_left, language_of
from scored_sets import RUBRIC, scored_set, write

from judge.validate.filters import Filters
from judge.validate.run import Settings, compute
from judge.validate.table import read_table
from judge.validate.view.diff import mark, segments
from judge.validate.view.page import page
from reward_model.records.page import PageLanguage

ATTACKS = (
    "</script><script>alert('x')</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]><svg onload=alert(2)>",
    "\u2028</SCRIPT >",
)


class Elements(HTMLParser):
    """Elements as a browser would build them, with the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def render(
    tmp_path: Path, rows: list[dict[str, Any]], language: PageLanguage = "en", **settings: Any
) -> str:
    table = read_table(write(tmp_path / "scored.jsonl", rows), RUBRIC)
    return page(table, compute(table, Settings(**settings)), seed=0, language=language)


def troubled() -> list[dict[str, Any]]:
    """Pairs with something to find in each section."""
    rows = scored_set(groups=12)
    for n, row in enumerate(rows):
        scores, defect = row["scores"], row["metadata"]["defect_metadata"]
        if n % 11 == 0:
            scores["chosen"], scores["rejected"] = scores["rejected"], scores["chosen"]
        if defect.get("degradation_type") == "simplified_calculation":
            planted = {"where": [0, 4], "was": "12%", "now": "21%", "error": "digits"}
            defect["planted"] = [planted]
            scores["rejected"]["accuracy"] = scores["chosen"]["accuracy"]
        if n % 17 == 3:
            scores["chosen"]["depth"] = None
            row["rejected"] += " Overall, it may be said."
    return rows


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = random.Random(0)
    rows = scored_set(groups=10)
    for row in rows:
        for key in ("id", "prompt", "chosen", "rejected"):
            row[key] += rng.choice(ATTACKS)
        row["scores"]["reasoning"]["chosen"]["depth"] = rng.choice(ATTACKS)
        row["scores"]["overall_assessment"] = rng.choice(ATTACKS)
        row["scores"]["judge"]["model"] = ATTACKS[0]
        defect = row["metadata"]["defect_metadata"]
        row["metadata"]["field"] = ATTACKS[1]
        if defect["degradation_type"] == "shallow_depth":
            defect["degradation_type"] = ATTACKS[1]
            defect["model"] = ATTACKS[0]
        if defect["degradation_type"] == "simplified_calculation":
            row["scores"]["rejected"]["accuracy"] = row["scores"]["chosen"]["accuracy"]
            defect["planted"] = [
                {"where": [0, 4], "was": ATTACKS[0], "now": ATTACKS[1], "error": ATTACKS[2]}
            ]
    return render(tmp_path_factory.mktemp("page"), rows)


def test_no_script_of_a_report_is_live(hostile: str) -> None:
    elements = Elements(hostile)
    assert [a.get("type") for tag, a in elements.found if tag == "script"] == [
        "application/json",
        None,
    ]
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"img", "iframe", "object", "embed", "link", "base"}
    for tag, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert "style" not in attributes, tag
        assert not (attributes.get("href") or "#").lower().startswith(("javascript", "http"))
    assert "alert" not in elements.scripts[1]


def test_texts_reach_the_viewer_unchanged(hostile: str) -> None:
    pairs = json.loads(Elements(hostile).scripts[0])["pairs"]
    assert len(pairs) == 60
    texts = ["".join(text for _, text in pair["chosen"]) for pair in pairs]
    assert all(any(text.endswith(attack) for attack in ATTACKS) for text in texts)
    planted = [p for p in pairs if any(kind == "planted" for kind, _ in p["rejected"])]
    assert len(planted) == 10


def test_page_needs_nothing_from_outside(hostile: str) -> None:
    elements = Elements(hostile)
    [policy] = [a["content"] for _, a in elements.found if "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not [a for _, a in elements.found if "src" in a]


def test_every_link_has_its_place(hostile: str) -> None:
    elements = Elements(hostile)
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))
    lines = {f"pair-{pair['line']}" for pair in json.loads(elements.scripts[0])["pairs"]}
    for tag, attributes in elements.found:
        if tag == "a":
            assert (attributes["href"] or "").removeprefix("#") in {*ids, *lines}


def test_every_problem_that_is_listed_can_be_looked_at(tmp_path: Path) -> None:
    rows = scored_set(groups=40)
    for row in rows[::2]:
        scores = row["scores"]
        scores["chosen"], scores["rejected"] = scores["rejected"], scores["chosen"]
    text = render(tmp_path, rows, ngrams=False)
    listed = text.split('id="problems"')[1].split("</table>")[0]
    assert listed.count("<tr><td>") == listed.count('href="#pair-') == 25


def test_columns_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    clean = scored_set(groups=10)
    assert "flags</th>" not in render(tmp_path, clean, ngrams=False)
    for row in clean:
        if row["metadata"]["defect_metadata"].get("degradation_type") == "shallow_depth":
            row["scores"]["rejected"] = dict(row["scores"]["chosen"])
    assert "flags</th>" in render(tmp_path, clean, ngrams=False)


def test_page_of_a_set_without_anything_known(tmp_path: Path) -> None:
    rows = [{"chosen": "a", "rejected": "b"} for _ in range(3)]
    text = render(tmp_path, rows)
    assert "No pair has a level on both sides." in text
    assert "Degradations" not in text


def test_a_page_in_chinese_has_no_english_left(tmp_path: Path) -> None:
    filters = Filters(min_gap=0.5, require_target=True)
    text = render(tmp_path, troubled(), "zh", filters=filters)
    assert language_of(text) == "zh"
    names = ("beta:judge", str(tmp_path), *(d.name for d in RUBRIC.degradations))
    assert not english_left(text, *names)
    assert '<h2 id="gaps">差距</h2>' in text
    assert "分析深度" in text
    assert "是否可用于训练： <b>否</b>" in text
    known = json.loads(Elements(text).scripts[1])
    assert known["only in chosen"] == "仅优选侧有"
    assert all(re.search("[一-鿿；、]|^{n}/{all}$", said) for said in known.values())


@pytest.mark.parametrize(
    ("change", "ready", "tone", "command"),
    [
        (None, "yes", "good", "reward-model train "),
        ("swap", "no", "bad", "judge validate "),
        ("unscored", "no", "bad", "judge score PAIRS --out "),
    ],
)
def test_the_page_begins_with_a_verdict_and_the_next_command(
    tmp_path: Path, change: str | None, ready: str, tone: str, command: str
) -> None:
    rows = scored_set(groups=10)
    for row in rows:
        if change == "swap":
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
            scores = row["scores"]
            scores["chosen"], scores["rejected"] = scores["rejected"], scores["chosen"]
        if change == "unscored":
            del row["scores"]
    text = render(tmp_path, rows, ngrams=False)
    assert f'<section class="answer {tone}"' in text
    box = text.split('<section class="answer', 1)[1].split("</section>")[0]
    assert f"Ready to train on: <b>{ready}</b>" in box
    assert f"Next: <code>{command}" in box
    assert 0 < box.count("<li>") <= 5
    assert text.index("Ready to train on") < text.index('class="tiles"')


def test_a_poor_file_with_good_pairs_says_to_train_on_those(tmp_path: Path) -> None:
    rows = scored_set(groups=12)
    for row in random.Random(0).sample(rows, len(rows) // 3):
        scores = row["scores"]
        scores["chosen"], scores["rejected"] = scores["rejected"], scores["chosen"]
    path, kept = tmp_path / "scored.jsonl", tmp_path / "kept.jsonl"
    write(path, rows)
    told = tmp_path / "told.json"
    run("judge", "validate", path, kept, "--min-gap", 0.5, "--json", told, "--no-ngrams")
    report = json.loads(told.read_text("utf-8"))
    assert report["verdict"]["grade"] == "poor"
    assert report["answer"]["next"] == f"reward-model train {kept}"
    assert report["answer"]["ready"] != "no"


def test_page_repeats(tmp_path: Path) -> None:
    rows = scored_set(groups=10)
    assert render(tmp_path, rows) == render(tmp_path, rows)


def test_large_set_shows_a_sample_and_says_so(tmp_path: Path) -> None:
    text = render(tmp_path, scored_set(groups=40), ngrams=False)
    assert "120 of 240 pairs" in text
    pairs = json.loads(Elements(text).scripts[0])["pairs"]
    kinds = {pair["kind"] for pair in pairs}
    assert kinds == {"neutral", *(d.name for d in RUBRIC.degradations)}


@given(st.text(max_size=60), st.text(max_size=60))
def test_segments_join_up_to_the_texts(a: str, b: str) -> None:
    left, right = segments(a, b)
    assert "".join(text for _, text in left) == a
    assert "".join(text for _, text in right) == b
    same = ["".join(t for kind, t in side if kind == "same") for side in (left, right)]
    assert same[0] == same[1]


@given(st.text(max_size=40), st.integers(0, 45), st.integers(0, 45))
def test_marks_keep_the_text(text: str, start: int, end: int) -> None:
    marked = mark(segments(text, text)[1], [(start, end)])
    assert "".join(part for _, part in marked) == text
    assert "".join(part for kind, part in marked if kind == "planted") == text[start:end]


def test_changed_words_are_whole() -> None:
    _, right = segments("Revenue rose 14.7% in 2021.", "Revenue fell 41.7% in 2021.")
    assert [text for kind, text in right if kind == "changed"] == [" fell 41.7%"]


def test_words_that_changed_side_by_side_are_one_mark() -> None:
    before = "Margins fell because prices of coal went up."
    _, right = segments(before, "Margins fell to some extent, as costs went up.")
    assert [text for kind, text in right if kind == "changed"] == [" to some extent, as costs"]
