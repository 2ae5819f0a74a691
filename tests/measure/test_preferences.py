"""Pairs without levels: the share that the model gets right, as counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from page_text import english_left
from tiny_models import save_encoder
from toy import write
from typer.testing import CliRunner

from reward_model import RewardScorer, load_rubric
from reward_model.cli.commands import app
from reward_model.data.reading import read_samples
from reward_model.data.split import split_groups
from reward_model.measure.evaluation.page import preferences_page
from reward_model.measure.evaluation.preferences import evaluate_preferences, has_no_levels
from reward_model.records import UserError
from reward_model.stats.evaluated import PreferenceReport

NASTY = "</script><img src=x onerror=alert(2)>"


def rows(count: int = 24) -> list[dict[str, Any]]:
    """RewardBench's columns; every sixth pair is of equal texts, which no model tells apart."""
    return [
        {
            "id": i,
            "prompt": f"Question {i // 2}?",
            "chosen": f"Answer {i} " + "because " * (i * 7 % 11),
            "chosen_model": "a",
            "rejected": f"Answer {i} " + ("because " * (i * 7 % 11) if i % 6 == 0 else "no " * 5),
            "rejected_model": "b",
            "subset": ["hep-go", f"own {NASTY}"][i % 2],
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("preferences") / "run" / "best")


def test_accuracy_of_reward_and_dimensions_by_subset(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "bench.jsonl", rows())
    places = {name: tmp_path / name for name in ("out.json", "out.html")}
    done = CliRunner().invoke(
        app,
        ["evaluate", str(model), str(path), "--json", str(places["out.json"]),
         "--html", str(places["out.html"]), "--resamples", "100"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(places["out.json"].read_text())
    scorer = RewardScorer.from_pretrained(model)
    both = [
        scorer.score_batch([row["prompt"]] * 2, [row["chosen"], row["rejected"]]) for row in rows()
    ]
    gaps = [(a.reward or 0) - (b.reward or 0) for a, b in both]
    assert found["metrics"]["pair_accuracy"]["value"] == pytest.approx(
        sum(gap > 0 for gap in gaps) / 24
    )
    assert found["metrics"]["pair_ties"]["value"] == pytest.approx(4 / 24)
    depth = [a.levels["depth"] > b.levels["depth"] for a, b in both]
    own = found["metrics"]["dimensions"]["depth"]["pair_accuracy"]
    assert own["value"] == pytest.approx(sum(depth) / 24)
    assert own["low"] <= own["value"] <= own["high"]
    assert own["n"] == 24
    half = found["subsets"]["hep-go"]
    assert (half["pairs"], found["metrics"]["groups"]) == (12, 12)
    assert half["pair_accuracy"]["value"] == pytest.approx(sum(g > 0 for g in gaps[::2]) / 12)
    assert found["notes"][0].startswith("the pairs carry no levels")
    html = places["out.html"].read_text()
    assert "length alone" in html
    assert NASTY not in html
    box = html.split('<section class="answer', 1)[1].split("</section>")[0]
    assert f"Ready to use as a reward: <b>{found['answer']['ready']}</b>" in box
    assert box.count("<li>") <= 5
    assert found["answer"]["next"].replace(str(path), "FILE") in (
        "judge score FILE --out SCORED.jsonl",
        f"reward-model bench {model} length --data FILE",
    )
    chinese = preferences_page(
        PreferenceReport.model_validate(found), load_rubric("financial_report"), "zh"
    )
    assert not english_left(chinese, str(model), "hep-go", f"own {NASTY}")
    assert "专业度" in chinese
    assert "（不含训练过的组）" in chinese
    assert not (model / "card").exists()
    for words in ("reward", "length alone", "hep-go", "no levels"):
        assert words in done.output
    told = done.output
    assert told.index("ready to use as a reward: ") < told.index("next: ") < told.index("ties")


def test_ties_and_texts_without_a_score_are_counted_apart(model: Path, tmp_path: Path) -> None:
    two = [
        {"ask": f"q{i}", "response_a": f"good {i}", "response_b": f"bad {i}", "winner": winner}
        for i, winner in enumerate(["model_a", "model_b", "tie", "tie (bothbad)", "model_a"])
    ]
    two[4]["response_b"] = "  "
    path = write(tmp_path / "arena.jsonl", [{**row, "question": row["ask"]} for row in two])
    assert has_no_levels(path)
    found = evaluate_preferences(model, path, resamples=100)
    counts = found.pairs
    assert (counts.measured, counts.tied, counts.no_opinion) == (2, 2, 1)
    assert any("2 pairs without a preference" in note for note in found.notes)
    write(path, [{**two[0], "winner": "gpt-4"}])
    with pytest.raises(UserError, match=r"arena\.jsonl, line 1: found 'gpt-4' in winner"):
        evaluate_preferences(model, path)
    write(path, two[2:4])
    with pytest.raises(UserError, match="no pair to measure on"):
        evaluate_preferences(model, path)


def test_groups_that_were_trained_on_are_left_out(model: Path, tmp_path: Path) -> None:
    levels = {side: {"depth": level} for side, level in (("chosen", 4), ("rejected", 1))}
    own = [{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in rows()]
    scored = write(tmp_path / "scored.jsonl", [{**row, "scores": levels} for row in own])
    assert not has_no_levels(scored)
    samples, _ = read_samples(scored, load_rubric("financial_report"))
    split = split_groups(samples, {"train": 0.5, "validation": 0.25, "test": 0.25}, 0)
    place = model.parent / "split.json"
    split.write(model.parent)
    try:
        path = write(tmp_path / "bare.jsonl", own)
        kept = 2 * len({*split.groups["test"], *split.groups["validation"]})
        found = evaluate_preferences(model, path, resamples=100)
        assert (found.pairs.measured, found.pairs.trained_on) == (kept, 24 - kept)
        assert evaluate_preferences(model, path, part="all", resamples=100).pairs.measured == 24
        test = evaluate_preferences(model, path, part="test", resamples=100)
        assert test.pairs.measured == 2 * len(split.groups["test"])
    finally:
        place.unlink()
    with pytest.raises(UserError, match=r"a model without split\.json"):
        evaluate_preferences(model, path, part="test")
