"""Which sentences carry a score: effects are differences of scores, and every limit is said."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_encoder

from reward_model.score import RewardScorer, explain
from reward_model.score.sentences import NOTHING, joined, passages

PROMPT = "Analyse the margins."
TABLE = "| 项目 | 2021年 |\n| 收入 | 120 |"
ZH = f"# 盈利能力\n\n毛利率升至35.2%。他说：“成本下降。”\n- 现金充足。\n{TABLE}\n"
ACME = "Acme Inc. grew in the U.S. market."
EN = f"{ACME} Costs fell. Is that enough?\n\n1. Cash is up. Good."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("explained") / "best", max_input_length=256)


@pytest.fixture(scope="module")
def scorer(model: Path) -> RewardScorer:
    return RewardScorer.from_pretrained(model, device="cpu")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (ZH, ["# 盈利能力", "毛利率升至35.2%。", "他说：“成本下降。”", "- 现金充足。", TABLE]),
        (EN, [ACME, "Costs fell.", "Is that enough?", "Cash is up.", "Good."]),
    ],
)
def test_an_effect_is_what_is_lost_without_a_sentence(
    scorer: RewardScorer, text: str, sentences: list[str]
) -> None:
    found = explain(scorer, PROMPT, text)
    whole = scorer.score(PROMPT, text)
    assert found.score.reward == pytest.approx(whole.reward, abs=1e-5)
    assert [one.text.strip() for one in found.passages] == sentences
    for one in found.passages:
        rest = scorer.score(PROMPT, text[: one.start] + text[one.end :])
        assert one.text == text[one.start : one.end]
        assert one.reward == pytest.approx(whole.reward - rest.reward, abs=1e-5)
        for name, level in rest.levels.items():
            assert one.levels[name] == pytest.approx(whole.levels[name] - level, abs=1e-4)
    nothing = scorer.score(PROMPT, NOTHING)
    for name, total in found.levels.items():
        assert total.passages == pytest.approx(sum(one.levels[name] for one in found.passages))
        assert total.whole == pytest.approx(whole.levels[name] - nothing.levels[name], abs=1e-4)
    assert found.notes == []
    assert "score" not in json.loads(json.dumps(found.to_json()))


def test_limits_are_said(scorer: RewardScorer) -> None:
    long = explain(scorer, PROMPT, "Cash is up. " * 20, most=6)
    assert len(long.passages) == 6
    assert (long.passages[0].start, long.passages[-1].end) == (0, 239)
    assert long.sentences == 20
    assert "20 sentences were joined into 6 passages" in long.notes[0]
    cut = explain(scorer, PROMPT, "Cash is up by a lot. " * 20, most=4)
    assert any("did not fit" in note for note in cut.notes)
    for silent in ("", " \n", "\u200b"):
        found = explain(scorer, PROMPT, silent)
        assert (found.score.reward, found.passages, found.reward) == (None, [], None)
    one = explain(scorer, PROMPT, "Up.")
    assert one.passages[0].reward is None  # nothing is left to score
    assert len(one.notes) == 2
    talk = [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": "<think>Hm. Well.</think>Costs fell. Good."},
    ]
    assert [p.text for p in explain(scorer, "", talk).passages] == ["Costs fell. ", "Good."]


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("**结论**：现金流较好。盈利承压。", "**结论**：现金流较好。"),
        ("-3.1亿元的净额说明回款变慢。其余不变。", "-3.1亿元的净额说明回款变慢。"),
        ("14.7%的增长来自销量。成本下降。", "14.7%的增长来自销量。"),
        ("- 成本下降。现金上升。", "成本下降。"),
        ("* Costs fell. Cash rose.", "Costs fell. "),
        ("2. 成本下降。现金上升。", "成本下降。"),
        ("2、成本下降。现金上升。", "成本下降。"),
    ],
)
def test_only_the_mark_of_a_list_stands_before_a_sentence(line: str, first: str) -> None:
    start, end = passages(line)[0]
    assert line[start:end].strip() == first.strip()


@given(st.text(alphabet="ab1. 。！”\n|-#`U", max_size=80), st.integers(1, 5))
def test_passages_hold_all_words_once(text: str, most: int) -> None:
    found = passages(text)
    assert all(a < b for a, b in found)
    assert all(one.end <= two.start for one, two in pairwise(found))
    left, end = "", 0
    for span in found:
        left, end = left + text[end : span.start], span.end
    assert set(left + text[end:]) <= set("-1. \n")  # marks of lists stay, and empty lines
    few = joined(found, most)
    assert len(few) == min(most, len(found))
    assert not found or (few[0].start, few[-1].end) == (found[0].start, found[-1].end)


def test_the_command_draws_it_in_the_text(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    file.write_text(EN, "utf-8")
    done = run(
        "reward-model", "score", model, "--prompt", PROMPT, "--response", f"@{file}", "--explain",
        "--json", "-",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    said = json.loads(done.stdout)
    assert [p["text"].strip() for p in said["sentences"]["passages"]][1] == "Costs fell."
    assert said["reward"] is not None
    for mark in ("[1", "] Costs fell.", "sum of all", "effects need not add up"):
        assert mark in done.stderr
    told = run("reward-model", "score", model, file, "--out", tmp_path / "o.jsonl", "--explain")
    assert (told.code, "--explain beside a file" in told.stderr) == (2, True)
