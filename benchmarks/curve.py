"""What is learned from how many texts, beside its rivals; and what the terms on pairs add.

    python benchmarks/curve.py rivals SCORED [--sizes 500 1000 3000] [--seeds 3]
    python benchmarks/curve.py terms SCORED [--sizes 500 1000] [--seeds 3]
    python benchmarks/curve.py vocabulary SCORED [--sizes 500 1000] [--seeds 3]

SCORED: pairs of the embedded writer (`datagen pairs`, `judge score`). `rivals`: the tiny base as
the quickstart trains it, and with the gap inside a pair, beside attribute regression, Bradley-Terry
on the same base and TF-IDF; all learn from all texts and keep their last step. `terms`: the same
base by the weights of the two terms on pairs. `vocabulary`: by the tokens that its tokenizer
learns. Everything stays in --out and is not made twice.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from little import divide, kappa, table
from torch import Tensor

from reward_model.cli.quickstart import PAIRS, SMOOTHING
from reward_model.data.dataset import MultiDimRewardDataset, Samples, pair_indices
from reward_model.data.reading import read_samples
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.measure.evaluation.run import evaluate
from reward_model.measure.texts import probabilities_of, score_texts, truth_of
from reward_model.records import IGNORE
from reward_model.rubrics import Rubric
from reward_model.score.scorer import RewardScorer
from reward_model.stats.evaluated import Metrics
from reward_model.stats.metrics import collect
from reward_model.train import tiny
from reward_model.train.config import resolve
from reward_model.train.prepare import prepare
from reward_model.train.progress import TrainingBar
from reward_model.train.run import make_trainer
from reward_model.train.run import train as fit
from reward_model.train.trainer import MultiDimRewardTrainer


class Regression(MultiDimRewardTrainer):
    """Attribute regression: squared error of one number a dimension, on the same base and steps."""

    def _loss(self, logits: Tensor, target: Any, labels: int, pairs: int) -> Tensor:
        there = target.labels != IGNORE
        off = torch.where(there, logits[..., 0] - target.labels, torch.zeros_like(logits[..., 0]))
        return off.square().sum() / max(1, labels)


def rivals(options: argparse.Namespace) -> None:
    """Reports of the embedded writer on the tiny base, beside its rivals."""
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        for size in options.sizes:
            place = options.out / f"curve_{size}_{seed}"
            kept = place.with_suffix(".json")
            if not kept.exists():
                kept.write_text(json.dumps(point(options.data, place, size, seed)), "utf-8")
            for name, (kappa_, ordered) in json.loads(kept.read_text("utf-8")).items():
                cells = rows.setdefault(name, {})
                for column, value in (("QWK", kappa_), ("pairs", ordered)):
                    found = cells.setdefault(f"{column}, {size} texts", [])
                    found += [] if value is None else [value]
    table(rows)


GAPS = 1.0
"""Weight of the gap inside a pair."""
FLAGS: dict[str, Any] = {
    "base_model": "tiny",
    "evidence": "checks",
    "test_share": 0.0,
    "eval_share": 0.0,
    "pair_weight": PAIRS,
    "gap_weight": GAPS,
    "label_smoothing": SMOOTHING,
}
"""As the quickstart trains, on all texts, and with the gap inside a pair."""
WEIGHTS = ((0.0, 0.0), (PAIRS, 0.0), (1.0, 0.0), (0.0, GAPS), (PAIRS, GAPS), (1.0, GAPS))
"""Of the pairwise term, and of the gap inside a pair."""


def terms(options: argparse.Namespace) -> None:
    """Levels and order of pairs by the weights of the terms on pairs."""
    rows: dict[str, dict[str, list[float]]] = {f"{pair:g}, {gap:g}": {} for pair, gap in WEIGHTS}
    for size in options.sizes:
        for seed in range(options.seeds):
            place = options.out / f"curve_{size}_{seed}"
            rubric = divide(options.data, place, size, seed)
            asked, _ = read_samples(place / "ask.jsonl", rubric)
            for pair, gap in WEIGHTS:
                model = place / f"terms_{pair:g}_{gap:g}"
                flags = {**FLAGS, "seed": seed, "pair_weight": pair, "gap_weight": gap}
                found = measured(model, flags, asked, rubric)
                for what in ("QWK", "QWK, expected", "pairs"):
                    cells = rows[f"{pair:g}, {gap:g}"]
                    cells.setdefault(f"{what}, {size:,} texts", []).append(found[what])
    table(rows)


TOKENS = (750, 1500, 3000)
"""A script."""


def vocabulary(options: argparse.Namespace) -> None:
    """Each dimension by the tokens a script that the tiny base knows."""
    usual = tiny.VOCABULARY
    rows: dict[str, dict[str, list[float]]] = {f"{tokens:,}": {} for tokens in TOKENS}
    for size in options.sizes:
        for seed in range(options.seeds):
            place = options.out / f"curve_{size}_{seed}"
            rubric = divide(options.data, place, size, seed)
            asked, _ = read_samples(place / "ask.jsonl", rubric)
            for tokens in TOKENS:
                tiny.VOCABULARY = tokens
                flags = {**FLAGS, "seed": seed, "gap_weight": 0.0}
                found = measured(place / f"vocabulary_{tokens}", flags, asked, rubric)
                for what in (*rubric.names, "pairs"):
                    cells = rows[f"{tokens:,}"]
                    cells.setdefault(f"{what}, {size:,} texts", []).append(found[what])
    tiny.VOCABULARY = usual
    table(rows)


def measured(
    model: Path, flags: dict[str, Any], asked: Samples, rubric: Rubric
) -> dict[str, float]:
    """Kappas and pair accuracy of a model trained beside `learn.jsonl`, where it is not yet."""
    kept = model.with_suffix(model.suffix + ".json")
    if not kept.exists():
        best = fit(resolve(model.parent / "learn.jsonl", model, None, flags))
        chances = probabilities_of(score_texts(RewardScorer.from_pretrained(best), asked), rubric)
        found = collect(chances, truth_of(asked, rubric), weights=rubric.weights, resamples=1)
        metrics = found.report(rubric.names)
        told = {
            "QWK": mean_kappa(metrics, "kappa"),
            "QWK, expected": mean_kappa(metrics, "kappa_expected"),
            "pairs": metrics.pair_accuracy.value,
            **{name: one["kappa"].value for name, one in metrics.dimensions.items()},
        }
        known = {name: value for name, value in told.items() if value is not None}
        kept.write_text(json.dumps(known), "utf-8")
    values: dict[str, float] = json.loads(kept.read_text("utf-8"))
    return values


def mean_kappa(metrics: Metrics, which: str) -> float | None:
    """Over the dimensions that have one."""
    found = [one[which].value for one in metrics.dimensions.values() if which in one]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def point(data: Path, place: Path, size: int, seed: int) -> dict[str, tuple[Any, Any]]:
    """Mean kappa and pair accuracy of each on the same held-out groups."""
    rubric = divide(data, place, size, seed)
    flags = {**FLAGS, "seed": seed}
    config = resolve(place / "learn.jsonl", place / "model", None, flags)
    found = evaluate(
        fit(config), place / "ask.jsonl", train_data=place / "learn.jsonl", compare=True
    )
    out: dict[str, tuple[Any, Any]] = {}
    for name, metrics in found.report.metrics.items():
        out[name] = (mean_kappa(metrics, "kappa"), metrics.pair_accuracy.value)
    nearest = mean_kappa(found.report.metrics["model"], "kappa_expected")
    out["model, expected level rounded"] = (nearest, out["model"][1])
    alone = {"output_dir": place / "regression", "pair_weight": 0.0, "gap_weight": 0.0}
    run = prepare(config.model_copy(update=alone))
    trainer = make_trainer(run, TrainingBar())
    trainer.__class__ = Regression
    trainer.train()
    asked, _ = read_samples(place / "ask.jsonl", rubric)
    builder = InputBuilder(run.tokenizer, config.max_length, max_prompt_length=0, evidence="checks")
    dataset = MultiDimRewardDataset(asked, rubric, builder)
    run.model.eval()
    said = np.zeros((len(asked), len(rubric.names)))
    with torch.inference_mode():
        for i in range(len(dataset)):
            ids = torch.tensor([dataset.encoded[i].input_ids])
            types = torch.tensor([dataset.encoded[i].token_type_ids or [0] * ids.shape[1]])
            said[i] = run.model(ids, token_type_ids=types).logits[0, :, 0].numpy()
    labels = np.array([sample.labels for sample in asked])
    level = np.clip(np.rint(said), 0, rubric.scale).astype(int)
    kappas = [kappa(labels[:, d], level[:, d], rubric.classes) for d in range(labels.shape[1])]
    reward = said @ np.array([rubric.weights[name] for name in rubric.names])
    order = [reward[a] > reward[b] for a, b in pair_indices(asked)]
    out["attribute regression"] = (float(np.mean(kappas)), float(np.mean(order)))
    return out


def main() -> None:
    """One part of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("rivals", "terms", "vocabulary"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("outputs/curve"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    {"rivals": rivals, "terms": terms, "vocabulary": vocabulary}[options.part](options)


if __name__ == "__main__":
    main()
