"""Rows of public data sets mean the same to every command that reads rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy import write

from reward_model.bench.forms import read_benchmark
from reward_model.data.columns import read_columns
from reward_model.data.preferred import preferred
from reward_model.policy.rows import read_rows
from reward_model.records import UserError, as_text
from reward_model.records.rows import parse_row

USER = {"role": "user", "content": "Why?"}
GOOD, BAD = "Because it rose.", "Dunno."


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def talk(text: str) -> list[dict[str, str]]:
    return [USER, said(text)]


PAIRS: dict[str, dict[str, Any]] = {
    "ours": {"prompt": "Why?", "chosen": GOOD, "rejected": BAD},
    "sides of messages": {"chosen": talk(GOOD), "rejected": talk(BAD), "messages": talk(GOOD)},
    "RewardBench": {
        "id": 7, "prompt": "Why?", "chosen": GOOD, "rejected": BAD, "subset": "hep-go",
        "scores": [9, 2], "metadata": "none",
    },
    "Alpaca": {"instruction": "Why?", "input": "", "chosen": GOOD, "rejected": BAD},
    "HelpSteer3": {
        "context": [USER], "response1": BAD, "response2": GOOD, "overall_preference": 3,
        "domain": "stem",
    },
    "HelpSteer2": {
        "prompt": "Why?", "response_1": GOOD, "response_2": BAD, "preference_strength": "-1",
    },
    "LMSYS": {"prompt": "Why?", "response_a": BAD, "response_b": GOOD, "winner": "model_b"},
    "LMSYS, one column each": {
        "prompt": "Why?", "response_a": GOOD, "response_b": BAD,
        "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0,
    },
    "Chatbot Arena": {
        "conversation_a": talk(GOOD), "conversation_b": talk(BAD), "winner": "model_a",
        "tstamp": 1.5,
    },
    "JudgeBench": {"question": "Why?", "response_A": BAD, "response_B": GOOD, "label": "B>A"},
    "LLMBar": {"input": "Why?", "output_1": BAD, "output_2": GOOD, "label": 2},
    "people": {
        "prompt": "Why?", "completion_a": GOOD, "completion_b": BAD,
        "preference": "a-is-slightly-better",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_preference_is_the_same_to_score_bench_and_policy(name: str, tmp_path: Path) -> None:
    row = PAIRS[name]
    found = preferred(row)
    assert found.pair is not None
    assert (as_text(found.pair.prompt), found.pair.chosen, found.pair.rejected) == (
        "Why?", GOOD, BAD,
    )  # fmt: skip
    assert found.names is not None
    for column, text in zip(found.names, found.completions, strict=True):
        assert as_text(text) == (row[column] if isinstance(row[column], str) else text[-1].content)
    path = write(tmp_path / "rows.jsonl", [row])
    (item,) = read_benchmark(str(path)).items
    assert (as_text(item.prompt), *item.responses) == ("Why?", GOOD, BAD)
    (own,) = read_rows(path, "pairs").rows
    assert (as_text(own.prompt), own.chosen, own.rejected) == ("Why?", GOOD, BAD)


SINGLES: dict[str, dict[str, Any]] = {
    "messages": {"messages": talk(GOOD), "source": "web"},
    "ultrachat": {"prompt": "Why?", "messages": talk(GOOD)},
    "ShareGPT": {
        "id": 4,
        "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": GOOD}],
    },
    "Alpaca": {"instruction": "Why?", "input": "", "output": GOOD},
    "question and answer": {"question": "Why?", "answer": GOOD, "context": {"page": 3}},
    "answer alone in messages": {"prompt": "Why?", "messages": [said(GOOD)]},
}


@pytest.mark.parametrize("name", SINGLES)
def test_a_response_is_the_same_to_score_and_policy(name: str, tmp_path: Path) -> None:
    row = parse_row(SINGLES[name])
    assert (as_text(row.prompt), *map(as_text, row.completions)) == ("Why?", GOOD)
    (own,) = read_rows(write(tmp_path / "rows.jsonl", [SINGLES[name]]), "answers").rows
    assert (as_text(own.prompt), own.chosen) == ("Why?", GOOD)


def test_ultrafeedback_is_a_list_of_responses() -> None:
    rated = [{"response": GOOD, "annotations": {}}, {"response": BAD, "model": "x"}]
    row = parse_row({"instruction": "Why?", "completions": rated}, several=False)
    assert (row.prompt, row.completions, row.names) == ("Why?", (GOOD, BAD), None)


TWO = {"prompt": "Why?", "response_a": GOOD, "response_b": BAD}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "two responses, and not which is better"),
        ({"winner": "gpt-4"}, "'gpt-4' in winner; expected .*model_a"),
        ({"label": 0.7}, "'0.7' in label|0.7 in label"),
        ({"winner": "model_a", "response_b": 5}, "5 in response_b; expected a text"),
        ({"winner": "model_a", "response_b": [{"role": "user"}]}, "no content .* in response_b"),
    ],
)
def test_what_is_no_preference_is_refused_with_its_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        preferred({**TWO, **change})


def test_a_tie_is_no_preference(tmp_path: Path) -> None:
    row = preferred({**TWO, "winner": "tie (bothbad)"})
    assert (row.pair, row.tied, row.completions) == (None, True, (GOOD, BAD))
    assert (
        read_benchmark(str(write(tmp_path / "a.jsonl", [{**TWO, "winner": "tie"}]))).items[0].tied
    )


def test_columns_are_named_in_one_line_or_in_a_file(tmp_path: Path) -> None:
    row = {"ask": "Why?", "out": {"text": GOOD}, "chosen": "no text of mine", "n": 3}
    file = tmp_path / "columns.toml"
    file.write_text('prompt = "ask"\nresponse = "out.text"\n')
    for given in ("prompt=ask, response=out.text", file):
        found = parse_row(read_columns(given).named(row, {}))
        assert (found.prompt, found.completions, found.names) == ("Why?", (GOOD,), ("",))
    two = read_columns("chosen=x,rejected=y").named({"x": GOOD, "y": BAD, "query": "Why?"}, {})
    assert (parse_row(two).prompt, parse_row(two).completions) == ("Why?", (GOOD, BAD))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("prompt=", "'prompt=' in --columns"),
        ("promt=q,response=a", "unknown key promt .do you mean prompt"),
        ("response=a,chosen=b,rejected=c", "not both"),
        ("chosen=b", "name the columns of response, or of chosen and rejected"),
        ("id=b", "name the columns of prompt"),
        ("nothing.toml", "no such file"),
    ],
)
def test_a_wrong_line_of_columns_is_told(given: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_columns(given)


def test_a_column_that_is_missing_is_told_with_those_that_are_there() -> None:
    with pytest.raises(UserError, match=r"line 3: found no column a; .*there are question, ans"):
        read_columns("prompt=question,response=a").named(
            json.loads('{"question": "q", "ans": "a"}'), {"path": "x.jsonl", "line": 3}
        )
