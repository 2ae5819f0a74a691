"""A Bradley-Terry scalar beside the model: trained for real, on the same texts, measured alike."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from commands import run
from safetensors.torch import load_file
from scipy.stats import spearmanr
from tiny_models import save_encoder

from reward_model.bench.rewards import find_reward
from reward_model.data.dataset import MultiDimRewardDataset, pair_indices
from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.data.split import read_split
from reward_model.measure.comparison import scalar as compare
from reward_model.measure.comparison import trainer as comparison_trainer
from reward_model.measure.comparison.numbers import beside, scalar_words
from reward_model.measure.comparison.scalar import check_place, preferences, read_run
from reward_model.measure.comparison.trainer import PairCollator as _PairCollator
from reward_model.measure.evaluation.page import page
from reward_model.measure.evaluation.run import Evaluation, evaluate
from reward_model.model.card import read_parts
from reward_model.model.folder import builder_of, load_bundle
from reward_model.records import IGNORE, UserError, as_text
from reward_model.rubrics import load_rubric
from reward_model.stats.metrics import Truth, collect
from reward_model.train.config import resolve
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")
HELD_OUT = "one_sided_coverage"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs; of five each one is a tie, one a neutral rewrite, one of a kind held out."""
    rows = toy.pairs(RUBRIC, 60, groups=12)
    for row in rows[::5]:
        row["scores"]["rejected"] = dict(row["scores"]["chosen"])
    for row in rows[2::5]:
        row["metadata"]["kind"] = "neutral"
    for row in rows[3::5]:
        row["metadata"]["defect_metadata"] = {"degradation_type": HELD_OUT}
    return toy.write(tmp_path_factory.mktemp("data") / "scored.jsonl", rows)


@pytest.fixture(scope="module")
def model(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags: dict[str, Any] = {
        "base_model": "tiny",
        "max_length": 96,
        "learning_rate": 3e-3,
        "epochs": 3,
        "batch_size": 8,
        "eval_share": 0.2,
        "test_share": 0.3,
        "hold_out": [f"degradation={HELD_OUT}"],
    }
    return train(resolve(scored, tmp_path_factory.mktemp("run"), None, flags))


@pytest.fixture(scope="module")
def found(model: Path, scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    out = tmp_path_factory.mktemp("scalar") / "kept"
    return evaluate(model, scored, resamples=200, compare=True, compare_out=out)


def test_it_is_trained_on_the_same_pairs_for_the_same_steps(
    found: Evaluation, model: Path, scored: Path
) -> None:
    how = found.result["bradley_terry"]["training"]
    assert how["by"].startswith("trl.RewardTrainer 1.")
    split = read_split(model)
    rows = [json.loads(line) for line in scored.read_text("utf-8").splitlines()]
    shown = [
        row
        for row in rows
        if row["metadata"].get("defect_metadata", {}).get("degradation_type") != HELD_OUT
    ]
    learned = [row for row in shown if row["metadata"]["prompt_id"] in split.groups["train"]]
    neutral = [row for row in learned if row["metadata"].get("kind") == "neutral"]
    tied = [
        row
        for row in learned
        if row not in neutral and row["scores"]["chosen"] == row["scores"]["rejected"]
    ]
    assert neutral
    assert tied
    assert how["pairs"]["train"] == len(learned) - len(neutral) - len(tied)
    assert how["pairs"]["left_out"] == {"neutral": len(neutral), "tied": len(tied)}
    card = read_parts(model)["training"]
    assert how["steps"] == card["steps"]
    assert how["texts_seen"]["model"] == 3 * card["texts"]["train"]
    assert how["learning_rate"] == 3e-3


def test_kinds_never_trained_on_have_the_same_table(found: Evaluation, model: Path) -> None:
    apart = found.result["by_training"]["kinds never trained on"]
    assert list(apart["metrics"]) == list(found.result["metrics"])
    scalar = apart["metrics"]["bradley_terry"]
    assert scalar["pair_accuracy"]["n"] == apart["pairs"] > 0
    assert scalar["dimensions"]["depth"]["kappa"]["reason"] == "a scalar has no levels"
    split = read_split(model)
    held = [pair for pair in found.truth.pairs if split.holds_out(found.samples[pair[0]])]
    assert len(held) == apart["pairs"]
    drawn = page(found)
    assert "Kinds never trained on" in drawn
    assert f"{apart['pairs']} pairs" in drawn


def copy(model: Path, folder: Path, **settings: Any) -> Path:
    """The model away from its run, with other settings in its card."""
    place = Path(shutil.copytree(model, folder / "best"))
    card = read_parts(place)["training"]
    card["settings"].update(settings)
    (place / "card" / "training.json").write_text(json.dumps(card))
    return place


def test_the_settings_of_the_run_are_kept_to(
    model: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copy(model, tmp_path, head_learning_rate=1e-3, eval_steps=4)
    collated = 0
    call, made, rates = (
        _PairCollator.__call__,
        comparison_trainer.make_trainer,
        comparison_trainer.give_heads_a_rate,
    )
    trainers: list[Any] = []
    train = len(read_split(model).select(read_samples(scored, RUBRIC)[0], "train"))

    def counted(self: _PairCollator, items: Any) -> Any:
        nonlocal collated
        batch = call(self, items)
        collated += len(batch["input_ids"]) if items[0]["chosen_ids"] < train else 0
        return batch

    def kept(*args: Any) -> Any:
        trainers.append(made(*args))
        return trainers[-1]

    groups: dict[float, int] = {}

    def rated(optimizer: Any, network: Any, rate: float) -> None:
        rates(optimizer, network, rate)
        for group in optimizer.param_groups:
            groups[group["lr"]] = groups.get(group["lr"], 0) + len(group["params"])

    monkeypatch.setattr(_PairCollator, "__call__", counted)
    monkeypatch.setattr(compare, "make_trainer", kept)
    monkeypatch.setattr(comparison_trainer, "give_heads_a_rate", rated)
    how = evaluate(place, scored, device="cpu", resamples=100, compare=True).result[
        "bradley_terry"
    ]["training"]
    seen = how["texts_seen"]["bradley_terry"]
    assert collated - 8 <= seen <= collated  # a batch may be made and not used any more
    assert seen > 6 * how["steps"]
    (trainer,) = trainers
    assert trainer.args.eval_steps == 4
    assert trainer.args.use_cpu
    assert trainer.args.optim == "adamw_torch_fused"
    head = len(list(trainer.model.heads.parameters()))
    assert groups == {1e-3: head, 3e-3: len(list(trainer.model.parameters())) - head}


def test_a_scalar_has_an_order_and_no_levels(found: Evaluation) -> None:
    scalar = found.result["metrics"]["bradley_terry"]
    own = found.result["metrics"]["model"]
    assert scalar.keys() == own.keys()
    assert scalar["dimensions"]["depth"].keys() == own["dimensions"]["depth"].keys()
    assert scalar["pair_accuracy"]["n"] == own["pair_accuracy"]["n"]
    assert scalar["dimensions"]["depth"]["kappa"]["value"] is None
    assert scalar["dimensions"]["depth"]["ece"]["reason"] == "a scalar has no levels"
    entries = found.result["bradley_terry"]["comparisons"]
    assert [(e["dimension"], e["metric"]) for e in entries] == [
        (name, metric) for name in (*RUBRIC.names, None) for metric in ("pair_accuracy", "rank")
    ]
    for entry in entries:
        change = entry["model"]["value"] - entry["scalar"]["value"]
        assert entry["difference"]["value"] == pytest.approx(change, abs=1e-9)
    assert "Beside a Bradley-Terry scalar" in page(found)
    assert "on the same backbone, pooling, token ids" in "\n".join(found.result["notes"])


def test_it_learns_and_the_same_seed_gives_the_same_model(
    found: Evaluation, model: Path, scored: Path, tmp_path: Path
) -> None:
    assert found.result["metrics"]["bradley_terry"]["pair_accuracy"]["value"] > 0.9
    again = evaluate(model, scored, resamples=200, compare=True, compare_out=tmp_path / "kept")
    assert again.result == found.result
    kept = load_file(tmp_path / "kept" / "model.safetensors")
    assert kept["heads.0.out.weight"].shape[0] == 1
    assert not any(name.startswith("heads.1") for name in kept)
    settings = json.loads((tmp_path / "kept" / "bradley_terry.json").read_text())
    assert settings["learning_rate"] == 3e-3
    # What was kept is a reward like any other.
    test = choose(read_samples(scored, RUBRIC)[0], read_split(model)).test
    give = find_reward(str(tmp_path / "kept")).open()
    values = give([one.prompt for one in test], [as_text(one.response) for one in test])
    right = [values[a] > values[b] for a, b in pair_indices(test)]  # type: ignore[operator]
    told = found.result["metrics"]["bradley_terry"]["pair_accuracy"]
    assert (np.mean(right), len(right)) == (pytest.approx(told["value"]), told["n"])


def test_it_reads_the_very_tokens_of_the_model(model: Path, scored: Path) -> None:
    bundle = load_bundle(model)
    samples, _ = read_samples(scored, RUBRIC)
    builder = builder_of(bundle.tokenizer, bundle.model.config)
    data = MultiDimRewardDataset(samples, RUBRIC, builder)
    batch = _PairCollator(data, 0)([{"chosen_ids": 4, "rejected_ids": 5}])
    for row, sample in enumerate([samples[4], samples[5]]):
        one = builder.one(sample.prompt, sample.response)
        width = len(one.input_ids)
        assert batch["input_ids"][row, :width].tolist() == list(one.input_ids)
        assert batch["token_type_ids"][row, :width].tolist() == list(one.token_type_ids or [])
        assert batch["attention_mask"][row].sum() == width
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask"}


def test_the_numbers_are_those_of_scipy_and_numpy() -> None:
    rng = np.random.default_rng(3)
    n = 120
    labels = rng.integers(0, 5, (n, 2))
    labels[rng.random((n, 2)) < 0.1] = IGNORE
    probabilities = rng.dirichlet(np.ones(5), (n, 2))
    probabilities[7] = np.nan
    scalar = rng.normal(size=n)
    pairs = np.arange(n).reshape(-1, 2)
    truth = Truth(("a", "b"), labels, tuple(f"g{i // 6}" for i in range(n)), pairs)
    weights = {"a": 0.75, "b": 0.25}
    own = collect(probabilities, truth, weights=weights, resamples=100)
    _, entries = beside(scalar, own, probabilities, truth, weights)
    by = {(entry.dimension, entry.metric): entry for entry in entries}
    keep = (labels[:, 1] != IGNORE) & (np.arange(n) != 7)
    rho = spearmanr(scalar[keep], labels[keep, 1]).statistic
    assert by["b", "rank"].scalar.value == pytest.approx(rho, abs=1e-9)
    levels = probabilities @ np.arange(5)
    rho = spearmanr(levels[keep, 1], labels[keep, 1]).statistic
    assert by["b", "rank"].model.value == pytest.approx(rho, abs=1e-9)
    whole = (labels != IGNORE).all(1) & (np.arange(n) != 7)
    target = labels[whole] @ [0.75, 0.25]
    rho = spearmanr(scalar[whole], target).statistic
    assert by[None, "rank"].scalar.value == pytest.approx(rho, abs=1e-9)
    high, low = (pairs[pairs[:, 0] != 6]).T
    assert by[None, "pair_accuracy"].scalar.value == pytest.approx(
        (scalar[high] > scalar[low]).mean(), abs=1e-9
    )
    differ = (labels[high, 0] != IGNORE) & (labels[low, 0] != IGNORE)
    differ &= labels[high, 0] != labels[low, 0]
    right = np.sign(scalar[high] - scalar[low]) == np.sign(labels[high, 0] - labels[low, 0])
    assert by["a", "pair_accuracy"].scalar.value == pytest.approx(right[differ].mean(), abs=1e-9)
    better = by["a", "rank"].model_copy(update={"verdict": "worse"})
    assert "a: BEHIND Bradley-Terry on rank correlation (" in scalar_words(better)


def test_what_is_missing_is_said(model: Path, scored: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(model, tmp_path / "alone"))
    assert read_run(bare)[0].learning_rate == 3e-3
    shutil.rmtree(bare / "card")
    done = run("reward-model", "evaluate", bare, scored, "--compare")
    assert done.code == 2
    assert "a model without its training settings" in " ".join(done.stderr.split())
    singles = tmp_path / "singles.jsonl"
    rows = [
        {"prompt": f"q{i}", "response": "word " * (i + 1), "scores": {"depth": i % 5}}
        for i in range(8)
    ]
    toy.write(singles, rows)
    with pytest.raises(UserError, match="no preference pair among the training texts"):
        evaluate(model, singles, resamples=100, compare=True)
    samples, _ = read_samples(scored, RUBRIC)
    kept, left_out = preferences(samples, RUBRIC)
    assert len(kept) == 36
    assert left_out == {"neutral": 12, "tied": 12}


def test_a_base_model_that_is_gone_is_said_before_anything_is_scored(
    model: Path, scored: Path, tmp_path: Path
) -> None:
    place = copy(model, tmp_path, base_model="my-encoder")
    done = run("reward-model", "evaluate", place, scored, "--compare")
    assert done.code == 2
    words = " ".join(done.stderr.split())
    assert "no base model to start a scalar from: no model folder 'my-encoder'" in words
    assert "--base-model" not in words
    # The run's folder knows the place; what else it says is of another model.
    base = save_encoder(tmp_path / "there" / "trained")
    load_bundle(base).model.backbone.save_pretrained(tmp_path / "there" / "my-encoder")
    load_bundle(base).tokenizer.save_pretrained(tmp_path / "there" / "my-encoder")
    config = {"base_model": str(tmp_path / "there" / "my-encoder"), "learning_rate": 1.0}
    (tmp_path / "train_config.json").write_text(json.dumps(config))
    settings, _ = read_run(place)
    assert settings.base_model == config["base_model"]
    assert settings.learning_rate == 3e-3


def test_settings_that_are_not_known_are_named(model: Path, tmp_path: Path) -> None:
    place = copy(model, tmp_path, momentum=0.9)
    with pytest.raises(UserError, match=r"settings that are not known here \(momentum\)"):
        read_run(place)


def test_a_place_that_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("")
    for place, words in [
        (Path("/proc/nope/x"), "no such file or folder"),
        (tmp_path / "link", "a link; expected a new or empty folder"),
        (tmp_path / "file", "a file; expected a new or empty folder"),
        (tmp_path / "file" / "x", "a file where a folder is needed"),
    ]:
        with pytest.raises(UserError, match=words):
            check_place(place)


def test_a_folder_with_other_files_is_left_alone(model: Path, scored: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run("reward-model", "evaluate", model, scored, "--compare-out", tmp_path)
    assert done.code == 2
    assert "a folder with other files in it" in " ".join(done.stderr.split())
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    empty = tmp_path / "empty"
    empty.mkdir()
    check_place(empty)


def test_without_trl_it_names_the_extra(
    model: Path, scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)  # as where it is not installed
    done = run("reward-model", "evaluate", model, scored, "--compare")
    assert done.code == 2
    assert "multidim-reward[rlhf]" in done.stderr
