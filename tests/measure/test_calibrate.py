"""Calibration: the temperatures another computation finds, stored where every score sees them."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax
from tiny_models import save_encoder

from reward_model import RewardScorer, load_rubric
from reward_model.data.dataset import Sample
from reward_model.data.held_out import HeldOut
from reward_model.data.reading import read_samples
from reward_model.data.split import Split, fingerprint, split_groups
from reward_model.measure.calibration import calibrate, fit_temperature
from reward_model.measure.texts import fitted_on
from reward_model.model.batches import collate
from reward_model.model.card import read_parts, record
from reward_model.model.folder import load_bundle
from reward_model.records import IGNORE, UserError

RUBRIC = load_rubric("financial_report")


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["word " * draw.randint(1, 30) + str(i) for i in range(count)]


def write(path: Path, model: Path, count: int = 320, groups: int = 80, seed: int = 0) -> Path:
    """Single responses. Depth is drawn from what the model says at three times its temperature;
    professionalism is constant, accuracy hardly labelled."""
    draw = random.Random(seed)
    scorer = RewardScorer.from_pretrained(model)
    responses = texts(count, seed)
    rows = []
    for i, (response, score) in enumerate(
        zip(responses, scorer.score_batch([""] * count, responses), strict=True)
    ):
        chances = [chance ** (1 / 3) for chance in score.probabilities["depth"]]
        levels = {"depth": draw.choices(range(5), chances)[0], "professionalism": 3}
        if i % 16 == 0:
            levels["accuracy"] = draw.randint(0, 4)
        metadata = {"prompt_id": f"{seed}-{i % groups}"}
        rows.append({"prompt": "", "response": response, "scores": levels, "metadata": metadata})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with loud heads."""
    return save_encoder(tmp_path_factory.mktemp("model") / "best")


@pytest.fixture(scope="module")
def scored(trained: Path) -> Path:
    path = write(trained.parent / "scored.jsonl", trained)
    samples, _ = read_samples(path, RUBRIC)
    split_groups(samples, {"train": 0.2, "validation": 0.4, "test": 0.4}, 0).write(trained)
    return path


@pytest.fixture
def model(tmp_path: Path, trained: Path, scored: Path) -> Path:
    """A copy to write to."""
    return Path(shutil.copytree(trained, tmp_path / "run" / "best"))


def logits_of(model: Path, scored: Path, part: str) -> tuple[Any, Any]:
    """What the heads say, without the package's scoring: logits [n, D, K] and labels [n, D]."""
    bundle = load_bundle(model)
    samples, _ = read_samples(scored, RUBRIC)
    wanted = set(json.loads((model / "split.json").read_text())["groups"][part])
    rows = [sample for sample in samples if sample.group in wanted]
    logits = []
    for sample in rows:
        one = bundle.builder.one(sample.prompt, sample.response)
        with torch.no_grad():
            out = bundle.model(**collate([one], 0))
        logits.append(out.logits[0].double().numpy())
    return np.array(logits), np.array([sample.labels for sample in rows])


def test_the_temperature_is_the_one_another_optimiser_finds(model: Path, scored: Path) -> None:
    logits, labels = logits_of(model, scored, "validation")
    z, y = logits[:, 0], labels[:, 0]

    def nll(x: Any) -> float:
        return float(-log_softmax(z / np.exp(x[0]), axis=1)[np.arange(len(y)), y].mean())

    # Two labels more, drawn by how often each level is seen.
    often = np.array([(y == level).mean() for level in range(z.shape[1])])
    aims = [(len(y) * (np.arange(z.shape[1]) == level) + 2 * often) / (len(y) + 2) for level in y]

    def loss(x: Any) -> float:
        return float(-(np.array(aims) * log_softmax(z / np.exp(x[0]), axis=1)).sum(1).mean())

    best = minimize(loss, [0.0], method="BFGS", options={"gtol": 1e-10})
    result = calibrate(model, scored, resamples=100).to_json()
    assert result["temperatures"]["depth"] == pytest.approx(np.exp(best.x[0]), rel=1e-4)
    found = result["dimensions"]["depth"]["fitted"]
    assert found["nll"]["before"]["value"] == pytest.approx(nll([0.0]), abs=1e-5)
    assert found["nll"]["after"]["value"] == pytest.approx(nll(best.x), abs=1e-5)
    assert found["nll"]["after"]["value"] < found["nll"]["before"]["value"]


def test_an_overconfident_model_is_calibrated_everywhere_it_is_used(
    model: Path, scored: Path
) -> None:
    before = RewardScorer.from_pretrained(model).score("", "word word")
    weights = (model / "model.safetensors").read_bytes()
    raw, labels = logits_of(model, scored, "test")
    result = calibrate(model, scored, resamples=200).to_json()
    assert result["fitted_on"]["part"] == "validation"
    heat = result["temperatures"]["depth"]
    assert heat == pytest.approx(3, rel=0.4)
    test = result["dimensions"]["depth"]["test"]["ece"]
    assert test["before"]["value"] > 0.2
    assert test["after"]["value"] < test["before"]["value"] / 2
    assert test["change"]["high"] < 0
    # Bins by hand, from the logits of before.
    chances = np.exp(log_softmax(raw[:, 0] / heat, axis=1))
    sure, right = chances.max(1), chances.argmax(1) == labels[:, 0]
    place = np.clip(np.ceil(sure * 15) - 1, 0, 14)
    gaps = [
        abs(sure[place == b].mean() - right[place == b].mean()) * (place == b).mean()
        for b in range(15)
        if (place == b).any()
    ]
    assert test["after"]["value"] == pytest.approx(sum(gaps), abs=1e-5)

    after = RewardScorer.from_pretrained(model).score("", "word word")
    assert after.predicted == before.predicted
    assert max(after.probabilities["depth"]) < max(before.probabilities["depth"])
    assert after.probabilities["professionalism"] == before.probabilities["professionalism"]
    assert (model / "model.safetensors").read_bytes() == weights
    heated, _ = logits_of(model, scored, "test")
    np.testing.assert_allclose(heated[:, 0] * heat, raw[:, 0], atol=1e-5)


def test_running_it_again_changes_nothing(model: Path, scored: Path) -> None:
    first = calibrate(model, scored, resamples=100)
    config = (model / "config.json").read_bytes()
    assert calibrate(model, scored, resamples=100) == first
    assert (model / "config.json").read_bytes() == config


def test_heads_that_cannot_be_calibrated_stay_and_it_is_said(model: Path, scored: Path) -> None:
    result = calibrate(model, scored, resamples=100).to_json()
    assert result["temperatures"]["professionalism"] == 1.0
    assert result["temperatures"]["accuracy"] == 1.0
    notes = "\n".join(result["notes"])
    assert "professionalism: temperature kept at 1 (only level 3 among the labels)" in notes
    assert "accuracy: temperature kept at 1 (" in notes
    assert "labels, fewer than 20)" in notes
    assert "numbers on these very texts are optimistic" in notes
    one = np.log(np.array([[0.8, 0.2], [0.3, 0.7]] * 20))
    assert fit_temperature(one, np.array([0, 1] * 20))[1] == (
        "every label is guessed right, so that no confidence is too high"
    )
    assert "no better than chance" in str(fit_temperature(one, np.array([1, 0] * 20))[1])
    almost = np.array([0, 1] * 19 + [1, 0])
    assert "next to equal" in str(fit_temperature(one / 100, almost)[1])


def test_a_stored_temperature_is_not_lost_for_want_of_labels(
    model: Path, scored: Path, tmp_path: Path
) -> None:
    path = model / "config.json"
    stored = {"depth": 9.0, "professionalism": 1.7}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperatures": stored}))
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(scored.read_text().splitlines()[:15]) + "\n")
    (model / "split.json").rename(tmp_path / "split.json")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"no dimension to fit.*depth: 15 labels, fewer than 20"):
        calibrate(model, few, resamples=100)
    assert path.read_bytes() == before
    (tmp_path / "split.json").rename(model / "split.json")
    result = calibrate(model, scored, resamples=100).to_json()
    kept = json.loads(path.read_text())["temperatures"]
    assert kept["professionalism"] == 1.7
    assert kept["accuracy"] == 1.0
    assert 2 < kept["depth"] < 4
    assert "professionalism: temperature kept at 1.7 (only level 3" in "\n".join(result["notes"])


def test_another_file_than_the_one_that_was_split_is_told(
    model: Path, scored: Path, tmp_path: Path
) -> None:
    assert not any("matched by name" in note for note in calibrate(model, scored).notes)
    strange = {"prompt": "", "response": "new", "metadata": {"prompt_id": "new"}}
    rows = [*scored.read_text().splitlines(), json.dumps(strange | {"scores": {"depth": 1}})]
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(rows) + "\n")
    notes = calibrate(model, other, resamples=100).notes
    assert any("its groups are matched by name" in note for note in notes)
    assert "texts of groups that the split does not know, left out: 1" in notes


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.3, 5), seed=st.integers(0, 99))
def test_scaled_logits_give_scaled_temperatures(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(300, 5))
    chances = np.exp(log_softmax(logits, axis=1))
    labels = np.array([rng.choice(5, p=p) for p in chances])
    labels[:20] = IGNORE
    one, two = fit_temperature(logits, labels)[0], fit_temperature(logits * scale, labels)[0]
    assert two == pytest.approx(one * scale, rel=1e-4)


def test_few_labels_that_agree_by_luck_do_not_make_a_head_sure() -> None:
    """Thirty labels of heads that know little: the temperature costs less on others than without
    the two labels at random, whose least negative log-likelihood is found by another optimiser."""
    rng = np.random.default_rng(0)

    def surprise(logits: Any, labels: Any, heat: float) -> float:
        log = log_softmax(logits / heat, axis=1)
        return float(-log[np.arange(len(labels)), labels].mean())

    ours, plain = [], []
    for _ in range(100):
        logits = rng.normal(size=(430, 5))
        labels = np.array([rng.choice(5, p=p) for p in np.exp(log_softmax(logits, axis=1))])
        few, known = logits[:30], labels[:30]
        least = minimize(lambda x, z=few, y=known: surprise(z, y, np.exp(x[0])), [0.0]).x[0]
        ours.append(surprise(logits[30:], labels[30:], fit_temperature(few, known)[0]))
        plain.append(surprise(logits[30:], labels[30:], float(np.exp(np.clip(least, -3, 3)))))
    assert np.mean(ours) < np.mean(plain)


def test_texts_to_fit_on_are_found_or_it_is_said(model: Path, scored: Path, tmp_path: Path) -> None:
    fresh = write(tmp_path / "fresh.jsonl", model, seed=7)
    result = calibrate(model, fresh, resamples=100).to_json()
    assert result["fitted_on"].pop("data")
    assert result["fitted_on"] == {"part": "whole file", "texts": 320, "groups": 80}
    assert "there is no independent measurement" in "\n".join(result["notes"])
    assert "test" not in result["dimensions"]["depth"]
    result = calibrate(model, scored, part="test", resamples=100).to_json()
    assert result["fitted_on"]["part"] == "test"
    split = Split.model_validate_json((model / "split.json").read_text())
    train = [
        line
        for line in scored.read_text().splitlines()
        if json.loads(line)["metadata"]["prompt_id"] in split.groups["train"]
    ]
    only = tmp_path / "train.jsonl"
    only.write_text("\n".join(train) + "\n")
    with pytest.raises(UserError, match="no text of the validation groups"):
        calibrate(model, only)


def test_the_command(model: Path, scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    done = run("reward-model", "calibrate", model, scored, "--json", out, "--resamples", "100")
    assert done.code == 0, done.stderr
    result = json.loads(out.read_text())
    assert json.loads((model / "config.json").read_text())["temperatures"] == result["temperatures"]
    assert f"{result['temperatures']['depth']:.3f}" in done.stderr
    assert "temperature kept at 1" in done.stderr
    assert read_parts(model)["calibration"]["temperatures"] == result["temperatures"]
    before = sorted(os.listdir(tmp_path))
    for words, *asked in [
        ("no such folder", tmp_path / "gone", scored),
        ("no config.json", tmp_path, scored),
        ("no such file", model, tmp_path / "gone.jsonl"),
        ("--split all", model, scored, "--split", "all"),
        ("a folder; expected a file to write", model, scored, "--json", tmp_path),
    ]:
        done = run("reward-model", "calibrate", *asked)
        assert done.code == 2, done.stderr
        assert words in " ".join(done.stderr.split())
    assert sorted(os.listdir(tmp_path)) == before


def test_a_configuration_with_impossible_temperatures_is_refused(model: Path) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperatures": {"depth": 0}}))
    with pytest.raises(UserError, match="are not all above 0"):
        load_bundle(model)


@pytest.mark.parametrize(
    ("fitted", "part", "told"),
    [
        ({"part": "test"}, "test", True),
        ({"part": "validation"}, "test", False),
        ({"part": "whole file", "data": "same"}, "whole file", True),
        ({"part": "whole file", "data": "other"}, "whole file", False),
        (None, "test", False),
    ],
)
def test_it_is_told_where_temperatures_saw_what_is_measured(
    tmp_path: Path, fitted: dict[str, str] | None, part: str, told: bool
) -> None:
    texts = [Sample("p", "r", (1, 2, 3), "g", "single", "k")]
    if fitted is not None:
        known = fitted | ({"data": fingerprint(texts)} if fitted.get("data") == "same" else {})
        record(tmp_path, "calibration", {"fitted_on": known})
    words = fitted_on(tmp_path, HeldOut(texts, [], part, []))
    assert bool(words) == told
