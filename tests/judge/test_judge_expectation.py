"""Expected levels from token probabilities: kept where they are certain, never guessed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from test_judge_score import _pairs, _rows

from judge.scoring.expectation import expected_levels
from judge.scoring.run import score_file
from judge.settings import ScoreSettings
from reward_model.llm import Reply, Request, ScriptedLLM, Step, Token, sections

HEAD = '{"levels": {"depth": '


def _reply(top: dict[str, float], text: str = "3", head: str = HEAD, tail: str = "}}") -> Reply:
    likely = tuple((token, math.log(p)) for token, p in top.items())
    tokens = (
        Token(text=head, logprob=0.0),
        Token(text=text, logprob=math.log(top.get(text, 0.5)), top=likely),
        Token(text=tail, logprob=0.0),
    )
    return Reply(text=head + text + tail, model="m", tokens=tokens)


def test_the_mean_of_the_levels_that_could_have_stood_there() -> None:
    spread = {"3": 0.6, "2": 0.2, "4": 0.2}
    assert expected_levels(_reply(spread), ["depth"], scale=4) == {"depth": 3.0}
    skewed = {"3": 0.7, "1": 0.25, "x": 0.05}  # what is no level does not count
    assert expected_levels(_reply(skewed), ["depth"], scale=4) == {
        "depth": pytest.approx((3 * 0.7 + 0.25) / 0.95, abs=1e-4)
    }
    spaced = {" 3": 0.5, " 2": 0.5}  # the blank belongs to the token
    assert expected_levels(_reply(spaced, " 3", HEAD.rstrip()), ["depth"], scale=4) == {
        "depth": 2.5
    }


def test_nothing_is_guessed() -> None:
    def found(reply: Reply, scale: int = 4) -> dict[str, float]:
        return expected_levels(reply, ["depth"], scale=scale)

    assert found(Reply(text=HEAD + "3}}", model="m")) == {}  # no probabilities
    assert found(_reply({"3": 0.5, "2": 0.2})) == {}  # the rest is unknown
    assert found(_reply({})) == {}  # the token, but no alternatives
    assert found(_reply({"3": 1.0}), scale=12) == {}  # "1" could go on to be "12"
    assert found(_reply({"3": 1.0}, tail='}, "depth": 2}')) == {}  # which one?
    assert found(_reply({"3": 1.0}, head='{"levels": {"style": ')) == {}
    assert found(_reply({"7": 0.5, "3": 0.5})) == {}  # 7 is no level: half is unknown


@given(st.lists(st.floats(0.01, 1), min_size=5, max_size=5))
def test_an_expectation_lies_on_the_scale_and_is_the_mean(weights: list[float]) -> None:
    total = sum(weights)
    top = {str(level): weight / total for level, weight in enumerate(weights)}
    found = expected_levels(_reply(top), ["depth"], scale=4)["depth"]
    assert found == pytest.approx(sum(i * w for i, w in enumerate(weights)) / total, abs=1e-3)


def _judge(top: dict[str, float] | None) -> ScriptedLLM:
    def answer(request: Request) -> Step:
        name = sections(request.messages[-1].content)["dimensions"].split(":")[0]
        reply = _reply(top or {"3": 1.0}, head=f'{{"levels": {{"{name}": ')
        return Step(reply=reply.text, tokens=reply.tokens if top else None)

    return ScriptedLLM(answer)


def test_scoring_keeps_the_expectation_beside_the_level(tmp_path: Path) -> None:
    settings = ScoreSettings(reasoning="none", expectation=True)
    judge = _judge({"3": 0.6, "2": 0.4})
    score_file(_pairs(tmp_path / "p", 1), tmp_path / "out", settings, judges=[judge])
    assert {request.top_logprobs for request in judge.requests} == {5}
    scores = _rows(tmp_path / "out")[0]["scores"]
    assert scores["chosen"]["depth"] == 3  # the level that was given, not the expectation
    assert scores["judge"]["expected"]["chosen"]["depth"] == 2.6
    # What the ledger kept gives the same.
    score_file(_pairs(tmp_path / "p", 1), tmp_path / "out", settings, judges=[_judge(None)])
    assert _rows(tmp_path / "out")[0]["scores"] == scores


def test_a_provider_without_probabilities_is_named_once(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path / "pairs.jsonl", 2)
    flags = ("--reasoning", "none", "--expectation")
    done = run("judge", "score", pairs, "--out", tmp_path / "out", *flags)
    assert done.code == 0, done.stderr
    assert done.stderr.count("12 of 12 levels have no expected level") == 1
    row: dict[str, Any] = json.loads((tmp_path / "out").read_text().splitlines()[0])
    assert "expected" not in row["scores"]["judge"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--expectation"], "add --reasoning none"),
        (["--expectation", "--reasoning", "none", "--mode", "pairwise"], "another mode"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    tmp_path: Path, flags: list[str], words: str
) -> None:
    done = run("judge", "score", _pairs(tmp_path / "p", 1), "--out", tmp_path / "out", *flags)
    assert (done.code, words in done.stderr) == (2, True), done.stderr
