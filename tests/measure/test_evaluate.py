"""Evaluation: the right texts, the right words, a page in which texts stay texts."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_text import english_left, language_of
from sklearn.metrics import cohen_kappa_score
from tiny_models import save_encoder
from typer.testing import CliRunner

from reward_model import RewardScorer, load_rubric
from reward_model.cli.commands import app
from reward_model.data.held_out import choose, folds
from reward_model.data.reading import read_samples
from reward_model.data.split import Split, read_split, split_groups
from reward_model.measure.evaluation.page import page
from reward_model.measure.evaluation.run import Evaluation, evaluate
from reward_model.measure.evaluation.slices import slices_of
from reward_model.measure.evaluation.words import baseline_words, calibration_words
from reward_model.model.card import read_parts
from reward_model.model.card.text import card_text
from reward_model.records import UserError
from reward_model.stats.bootstrap import Bootstrap, Estimate
from reward_model.stats.evaluated import ByChance, CalibrationReport, Comparison, EvaluationReport
from reward_model.stats.reports import Report

RUBRIC = load_rubric("financial_report")
OLD = Path(__file__).parents[1] / "flow" / "written_by_0_1_0" / "trained" / "best" / "card"
NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def pair(i: int, group: str, **extra: Any) -> dict[str, Any]:
    draw = random.Random(i)
    good, bad = draw.choice([3, 4]), draw.choice([0, 1, 2])
    return {
        "id": f"p{i}",
        "prompt": f"公司 {group} 的报表",
        "chosen": f"深入分析 {i}：利润由结构驱动 {NASTY}" + "因为" * draw.randint(1, 30),
        "rejected": f"利润上升 {i}" + "大约" * draw.randint(1, 120),
        "metadata": {
            "field": ("制造业", "服务业")[i % 2],
            "language": "zh",
            "prompt_id": group,
            "kind": "degraded",
            "defect_metadata": {"degradation_type": "浅化深度", "severity": i % 4 + 1},
            **extra,
        },
        "scores": {
            "chosen": {"depth": good, "professionalism": 4, "accuracy": None},
            "rejected": {"depth": bad, "professionalism": 4, "accuracy": None},
        },
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [pair(i, f"c{i // 4}") for i in range(80)]
    rows += [pair(100 + i, f"c{i}", kind="neutral") for i in range(20)]
    return write(tmp_path_factory.mktemp("data") / "scored.jsonl", rows)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, scored: Path) -> Path:
    """A model of random weights, with the split that training would have written."""
    folder = save_encoder(tmp_path_factory.mktemp("evaluate") / "run" / "best")
    samples, _ = read_samples(scored, RUBRIC)
    split_groups(samples, {"train": 0.5, "validation": 0.25, "test": 0.25}, 0).write(folder.parent)
    return folder


@pytest.fixture(scope="module")
def found(model: Path, scored: Path) -> Evaluation:
    return evaluate(model, scored, resamples=200)


def test_only_held_out_groups_are_measured_and_baselines_learn_from_the_others(
    model: Path, scored: Path, found: Evaluation
) -> None:
    split = Split.model_validate_json((model.parent / "split.json").read_text())
    assert set(found.truth.groups) == set(split.groups["test"])
    result = found.result["split"]
    assert result["part"] == "test"
    assert result["groups"] == 5
    assert result["texts"] == 50
    assert (result["pairs"], result["neutral_pairs"]) == (20, 5)
    assert result["training_texts_for_baselines"] == 100
    assert set(found.result["metrics"]) == {"model", "majority", "length", "tfidf"}
    # The record reads its own JSON back, and writes the same again.
    again = EvaluationReport.model_validate_json(json.dumps(found.result))
    assert json.dumps(again.to_json()) == json.dumps(found.result)
    assert again.metrics["model"].pair_accuracy == found.report.metrics["model"].pair_accuracy


@pytest.mark.parametrize(
    ("part", "record"), [("evaluation", EvaluationReport), ("calibration", CalibrationReport)]
)
def test_results_of_0_1_0_are_read_and_written_with_the_keys_they_had(
    part: str, record: type[Report], found: Evaluation
) -> None:
    before = json.loads((OLD / f"{part}.json").read_text("utf-8"))
    assert record.model_validate(before).to_json() == before
    card = card_text({part: before}, None)  # as another measurement writes it anew
    assert "QWK, expected level" not in card
    assert "correlation of the reward" not in card
    if part == "evaluation":
        assert "| depth | QWK |" in card
        now = found.result
        assert now.keys() == before.keys() | {"model", "baseline_notes", "answer"}
        for key in ("split", "settings"):
            assert now[key].keys() == before[key].keys(), key
        assert now["input"].keys() == before["input"].keys() | {"max_prompt_length"}
        own, then = (result["metrics"]["model"] for result in (now, before))
        assert own.keys() == then.keys() | {"reward_correlation"}
        added = {"kappa_expected"}
        assert own["dimensions"]["depth"].keys() == then["dimensions"]["depth"].keys() | added
        assert own["dimensions"]["depth"]["ece"].keys() == {"value", "low", "high", "n"}


def test_numbers_are_those_of_the_scores(model: Path, found: Evaluation) -> None:
    scorer = RewardScorer.from_pretrained(model)
    one = scorer.score(found.samples[7].prompt, found.samples[7].response)
    assert found.scores[7].levels == pytest.approx(one.levels, abs=1e-5)
    true = [sample.labels[0] for sample in found.samples]
    said = [score.predicted["depth"] for score in found.scores]
    kappa = cohen_kappa_score(true, said, weights="quadratic", labels=list(range(5)))
    own = found.result["metrics"]["model"]
    assert own["dimensions"]["depth"]["kappa"]["value"] == pytest.approx(kappa, abs=1e-9)
    rewards = [(found.scores[a].reward, found.scores[b].reward) for a, b in found.truth.pairs]
    right = np.mean([a > b for a, b in rewards if a is not None and b is not None])
    assert own["pair_accuracy"]["value"] == pytest.approx(right, abs=1e-9)
    assert own["neutral_gap"]["n"] == 5


def test_what_cannot_be_said_is_said_in_words(found: Evaluation) -> None:
    own = found.result["metrics"]["model"]["dimensions"]
    assert own["accuracy"]["accuracy"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "reason": "no labels",
    }
    assert own["professionalism"]["kappa"]["reason"] == "only level 4 among the labels"
    notes = "\n".join(found.result["notes"])
    assert "measured on 5 test groups, never seen in training" in notes
    assert "accuracy: no labels at all" in notes
    assert "professionalism: level 4 on every text; there is nothing to tell apart" in notes
    assert "professionalism levels cannot be compared: only level 4 among the labels" in notes
    assert "only 5 groups to draw from" in notes
    # Random weights against words that give the level away: the page has to say it.
    assert "length is level or ahead, within doubt, on depth levels and on depth" in notes


def test_a_difference_counts_only_beyond_its_interval(found: Evaluation) -> None:
    entry = Comparison(
        dimension="depth",
        metric="kappa",
        model=0.6,
        baseline="tfidf",
        baseline_value=0.5,
        difference=Estimate(0.1, 10, -0.05, 0.25),
        verdict="unclear",
    )

    def said(*entries: Comparison) -> list[str]:
        return baseline_words(found.report.model_copy(update={"comparisons": list(entries)}))

    assert said(entry) == ["TF-IDF is behind, but not beyond doubt, on depth levels"]
    assert said(entry.model_copy(update={"verdict": "better"})) == []
    level = entry.model_copy(update={"model": 0.4})
    pairs = level.model_copy(update={"metric": "pair_accuracy"})
    other = pairs.model_copy(update={"dimension": "accuracy"})
    worse = level.model_copy(update={"verdict": "worse", "dimension": None})
    closer = worse.model_copy(update={"metric": "reward_correlation", "verdict": "unclear"})
    assert said(closer) == [
        "the reward does not follow that of the labels more closely than TF-IDF beyond doubt"
    ]
    assert said(level, pairs, other, worse) == [
        "TF-IDF is ahead beyond doubt on reward levels",
        "TF-IDF is level or ahead, within doubt, on depth levels and on depth and accuracy pairs",
    ]


def test_same_seed_same_result(model: Path, scored: Path, found: Evaluation) -> None:
    again = evaluate(model, scored, resamples=200)
    assert again.result == found.result
    assert page(again) == page(found)


def test_slices_by_what_is_known(found: Evaluation) -> None:
    slices = found.result["slices"]
    assert set(slices) == {"degradation", "severity", "field", "length", "longer side"}
    assert set(slices["degradation"]) == {"neutral rewrite", "浅化深度"}
    assert slices["degradation"]["neutral rewrite"]["pair_accuracy"]["reason"] == "no pairs"
    assert sum(part["texts"] for part in slices["field"].values()) == 50
    assert sum(part["pair_accuracy"]["n"] for part in slices["severity"].values()) == 20
    masks = slices_of(found.samples)["length"].values()
    assert sum(mask.astype(int) for mask in masks).tolist() == [1] * 50


def test_kinds_never_trained_on_stand_beside_the_others(
    model: Path, scored: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in scored.read_text("utf-8").splitlines()]
    for row in lines[::2]:
        row["metadata"]["defect_metadata"]["degradation_type"] = "片面覆盖"
    path = write(tmp_path / "two.jsonl", lines)
    copy = Path(shutil.copytree(model.parent, tmp_path / "run")) / "best"
    split = read_split(copy).model_copy(update={"hold_out": {"degradation": ["片面覆盖"]}})
    split.write(copy.parent)
    result = evaluate(copy, path, resamples=100).result
    slices = result["slices"]
    given = evaluate(copy, path, train_data=path, resamples=100).result
    # Named as training data or not, baselines see no more kinds than the model did.
    assert given["metrics"]["tfidf"] == result["metrics"]["tfidf"]
    kinds = slices["degradation"]
    assert set(kinds) == {"never trained on: 片面覆盖", "浅化深度", "neutral rewrite"}
    never = slices["training"]["kinds never trained on"]
    assert never["pair_accuracy"] == kinds["never trained on: 片面覆盖"]["pair_accuracy"]
    assert never["pair_accuracy"]["n"] + kinds["浅化深度"]["pair_accuracy"]["n"] == 20
    apart = result["by_training"]["kinds never trained on"]
    assert apart["texts"] == never["texts"]
    assert apart["pairs"] == never["pair_accuracy"]["n"]
    assert list(apart["metrics"]) == ["model", "majority", "length", "tfidf"]
    assert apart["metrics"]["model"] == {k: v for k, v in never.items() if k != "texts"}
    lone = [
        row for row in lines if row["metadata"]["defect_metadata"]["degradation_type"] != "浅化深度"
    ]
    unseen = evaluate(copy, write(tmp_path / "lone.jsonl", lone[:40:2]), resamples=100).result
    assert "by_training" not in unseen  # they are all there is


def test_pairs_with_planted_errors_are_a_slice(model: Path, tmp_path: Path) -> None:
    rows = [pair(i, f"new{i}") for i in range(12)]
    for i, errors in [(0, ["sign"]), (1, ["sign", "sign"]), (2, ["period", "unit"])]:
        rows[i]["metadata"]["defect_metadata"]["planted"] = [
            {"where": [0, 1], "was": "1", "now": "2", "error": error} for error in errors
        ]
        rows[i]["scores"]["chosen"]["accuracy"] = 4
        rows[i]["scores"]["rejected"]["accuracy"] = 1
    result = evaluate(model, write(tmp_path / "p.jsonl", rows), resamples=100).result
    planted = result["slices"]["planted error"]
    assert planted["yes"]["dimensions"]["accuracy"]["pair_accuracy"]["n"] == 3
    assert planted["no"]["pair_accuracy"]["n"] == 9
    kinds = result["slices"]["kind of planted error"]
    assert {kind: found["texts"] for kind, found in kinds.items()} == {
        "several kinds": 2,
        "sign": 4,
    }


def test_an_error_that_chance_explains_is_said_to_be_one() -> None:
    errors = {"a": 0.05, "b": 0.2, "c": None}
    chance = ByChance(mean=0.06, high=0.1)
    perfect = {"a": chance, "b": chance, "c": None}
    assert calibration_words(errors, perfect) == [
        "calibration error is beyond what a perfectly calibrated model shows by chance on so many "
        "texts: b (0.200 against 0.060)",
        "calibration error cannot be told from that of a perfectly calibrated model on so few "
        "texts: a (0.050 against 0.060)",
    ]


def test_a_calibrated_model_shows_its_error_before_and_after(
    model: Path, scored: Path, found: Evaluation, tmp_path: Path
) -> None:
    assert found.result["calibration"] == {}
    assert found.raw is None
    copy = Path(shutil.copytree(model.parent, tmp_path / "run")) / "best"
    config = json.loads((copy / "config.json").read_text())
    heat = {"depth": 4.0, "professionalism": 1.0, "accuracy": 1.0}
    (copy / "config.json").write_text(json.dumps(config | {"temperatures": heat}))
    again = evaluate(copy, scored, resamples=200)
    depth = again.result["calibration"]["depth"]
    own = found.result["metrics"]["model"]["dimensions"]["depth"]["ece"]
    assert depth["ece_before"]["value"] == pytest.approx(own["value"], abs=1e-5)
    after = again.result["metrics"]["model"]["dimensions"]["depth"]["ece"]
    assert depth["ece_after"] == after
    assert depth["change"]["value"] == pytest.approx(after["value"] - own["value"], abs=1e-5)
    assert again.raw == pytest.approx(found.probabilities, abs=1e-5)
    assert "ECE before temperature 4" in page(again)
    assert "before scaling" in page(again)


def test_a_page_in_chinese_has_no_english_left(found: Evaluation) -> None:
    text = page(found, "zh")
    assert language_of(text) == "zh"
    names = (found.report.model, found.report.file, "Bradley-Terry", "kappa", "TF-IDF", "Student")
    assert not english_left(text, *names)
    assert '<h2 id="baselines">对比最好的基线</h2>' in text
    assert "是否可用作奖励：" in text
    assert '<th scope="row">分析深度</th>' in text
    assert language_of(page(found)) == "en"


def test_the_page_shows_texts_as_texts(found: Evaluation) -> None:
    text = page(found)
    assert NASTY not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "is level or ahead, within doubt" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<svg" in text
    assert "level 4 on every text" in text


def test_parts_of_a_file(model: Path, scored: Path, tmp_path: Path) -> None:
    samples, _ = read_samples(scored, RUBRIC)
    split = Split.model_validate_json((model.parent / "split.json").read_text())
    validation = choose(samples, split, "validation")
    assert {s.group for s in validation.test} == set(split.groups["validation"])
    assert "best checkpoint was chosen on these" in validation.words[0]
    whole = choose(samples, split, "all")
    assert len(whole.test) == 200
    assert "optimistic" in whole.words[0]
    foreign, _ = read_samples(
        write(tmp_path / "f.jsonl", [pair(1, "new"), pair(2, "other")]), RUBRIC
    )
    fresh = choose(foreign, split)
    assert (fresh.part, len(fresh.test), fresh.train) == ("whole file", 4, [])
    assert "no group of this file was in training" in fresh.words[0]
    with pytest.raises(UserError, match="groups are not in the model's split"):
        choose(foreign, split, "test")
    with pytest.raises(UserError, match=r"without split\.json"):
        choose(samples, None, "test")
    only_train = [s for s in samples if s.group in split.groups["train"]]
    with pytest.raises(UserError, match="no text of the test groups"):
        choose(only_train, split)
    mixed = choose([*only_train, *foreign], split)
    assert {s.group for s in mixed.test} == {"new", "other"}
    assert "not the one that was split" in mixed.words[0]
    parts = folds(samples, 0)
    assert sorted(row for part in parts for row in part) == list(range(200))
    for part in parts:
        others = {samples[i].group for other in parts if other is not part for i in other}
        assert not others & {samples[i].group for i in part}


def test_without_training_texts_baselines_are_cross_fitted_and_it_says_so(
    tmp_path: Path, scored: Path
) -> None:
    alone = save_encoder(tmp_path / "model")
    result = evaluate(alone, scored, resamples=100).result
    assert result["split"]["part"] == "whole file"
    assert "fitted on the other 4 of 5 parts" in "\n".join(result["notes"])
    assert result["metrics"]["tfidf"]["dimensions"]["depth"]["kappa"]["value"] > 0.5
    single = write(tmp_path / "one.jsonl", [pair(1, "same"), pair(2, "same")])
    result = evaluate(alone, single, resamples=100).result
    assert set(result["metrics"]) == {"model"}
    assert "no baselines: no training texts at hand and one group only" in "\n".join(
        result["notes"]
    )


def test_single_responses_and_empty_ones(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "model")
    rows = [
        {"prompt": f"q{i}", "response": "word " * i, "scores": {"depth": i % 5, "accuracy": 1}}
        for i in range(12)
    ]
    result = evaluate(folder, write(tmp_path / "s.jsonl", rows), resamples=100).result
    assert result["metrics"]["model"]["pair_accuracy"]["reason"] == "no pairs"
    assert result["metrics"]["model"]["dimensions"]["depth"]["accuracy"]["n"] == 11
    assert result["metrics"]["tfidf"]["dimensions"]["depth"]["accuracy"]["n"] == 11
    assert result["input"]["no_opinion"] == {"the response is empty": 1}


def test_the_command_writes_json_and_page_or_nothing(
    model: Path, scored: Path, tmp_path: Path
) -> None:
    run = CliRunner().invoke
    model = Path(shutil.copytree(model.parent, tmp_path / "run")) / "best"
    json_to, html_to = tmp_path / "e.json", tmp_path / "e.html"
    flags = ["--resamples", "100", "--json", str(json_to), "--html", str(html_to)]
    done = run(app, ["evaluate", str(model), str(scored), *flags, "--no-card", "--explain", "1"])
    assert not (model / "card").exists()
    shown = html_to.read_text()
    rows = set(re.findall('data-explanation="([0-9]+)"', shown))
    kept = json.loads(shown.split('id="page-data">')[1].split("</script>")[0])["explanations"]
    assert rows == set(kept)
    assert all(one["passages"] and one["levels"].keys() for one in kept.values())
    assert 1 <= len(rows) <= 3  # both sides of a pair, and one text
    done = run(app, ["evaluate", str(model), str(scored), *flags])
    assert done.exit_code == 0, done.exception
    assert json.loads(json_to.read_text())["split"]["part"] == "test"
    assert "data-explanation" not in html_to.read_text().split("<script")[0]
    assert html_to.read_text().startswith("<!doctype html>")
    kept = read_parts(model)["evaluation"]
    assert kept["metrics"] == json.loads(json_to.read_text())["metrics"]
    assert str(tmp_path) not in json.dumps(kept)
    broken = tmp_path / "broken.jsonl"
    lines = scored.read_text("utf-8").splitlines()
    broken.write_text("\n".join([*lines[:6], "{", *lines[6:]]), "utf-8")
    high = write(
        tmp_path / "high.jsonl",
        [pair(1, "a") | {"scores": {"chosen": {"depth": 5}, "rejected": {}}}],
    )
    tone = write(
        tmp_path / "tone.jsonl",
        [pair(1, "a") | {"scores": {"chosen": {"tone": 1}, "rejected": {}}}],
    )
    bare = write(tmp_path / "bare.jsonl", [{"prompt": "a", "response": "b"}])
    for words, *asked in [
        ("no such folder", tmp_path / "gone", scored),
        ("no config.json", tmp_path, scored),
        ("no such file", model, tmp_path / "gone.jsonl"),
        ("line 7: found broken JSON", model, broken),
        ("level 5 in scores.chosen.depth", model, high),
        ("unknown dimension 'tone'", model, tone),
        ("no level on any line", model, bare),
        ("--split some", model, scored, "--split", "some"),
        ("--explain without --html", model, scored, "--explain", 1),
        ("a folder; expected a file to write", model, scored, "--html", tmp_path),
    ]:
        out = tmp_path / "never.json"
        result = run(app, ["evaluate", *map(str, asked), "--json", str(out)])
        assert isinstance(result.exception, UserError), (words, result.exception)
        assert words in str(result.exception)
        assert not out.exists()


def test_real_pairs_are_measured_as_they_are(real_data: Path, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "model")
    found = evaluate(folder, real_data / "finreport_pairs_0to4.jsonl", resamples=100)
    assert found.result["split"]["pairs"] == 15
    notes = "\n".join(found.result["notes"])
    assert "depth (rejected): level 2 on every text" in notes
    assert '<div class="executive-summary"' not in page(found)


def test_error_is_shown_by_familiarity(model: Path, scored: Path, tmp_path: Path) -> None:
    from reward_model.measure.evaluation.familiarity import by_familiarity, familiarity_words

    plain = evaluate(model, scored, resamples=100)
    assert plain.report.familiarity is None
    assert "familiarity" not in plain.result
    known = np.linspace(0.001, 1, len(plain.scores))
    scores = [
        replace(score, familiarity=float(value))
        for score, value in zip(plain.scores, known, strict=True)
    ]
    bootstrap = Bootstrap(plain.truth.groups, resamples=100)
    found = by_familiarity(scores, plain.probabilities, plain.truth, bootstrap)
    assert found is not None
    labels = plain.truth.labels[:, :2]  # accuracy has no labels here
    off = np.abs(plain.probabilities @ np.arange(5.0) - plain.truth.labels)[:, :2].mean(1)
    right = (plain.probabilities.argmax(2)[:, :2] == labels).mean(1)
    assert sum(part.texts for part in found.bins) == found.texts == len(labels)
    last = known > 0.5
    assert found.bins[-1].error.value == pytest.approx(off[last].mean())
    assert found.bins[-1].accuracy.value == pytest.approx(right[last].mean())
    whole, *_, half = found.coverage
    assert [whole.error, whole.error_by_spread] == pytest.approx([off.mean()] * 2)
    assert half.error == pytest.approx(off[-round(len(off) / 2) :].mean())
    assert half.error_at_best <= min(half.error, half.error_by_spread) + 1e-9
    assert familiarity_words(found) == []
    strange = [replace(score, familiarity=0.004) for score in plain.scores]
    words = familiarity_words(by_familiarity(strange, plain.probabilities, plain.truth, bootstrap))
    assert f"{len(labels)} of {len(labels)} texts are less familiar" in words[0]
    report = plain.report.model_copy(update={"familiarity": found})
    drawn = page(replace(plain, report=report))
    assert 'id="familiarity"' in drawn
    assert EvaluationReport.model_validate(report.to_json()).familiarity == found
