"""What a small pretrained encoder learns from the embedded writer's English reports.

    python benchmarks/held_out.py [--out FOLDER] [--pairs 2072] [--epochs 1.5] [--models NAME ...]

Trains all-MiniLM-L6-v2 with and without the evidence of checks, once more with two kinds of
degradation never shown, calibrates, and measures on companies never seen, beside Bradley-Terry
(TRL's RewardTrainer) on the same backbone. Prints the tables of docs/evaluate.md. The reports are
on one line of the income statement, so that they are short and a CPU gets through. Every step is
a command of this package; what is finished is not run again. With `--train-only` models can learn
side by side, a core each, before the tables are asked for.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path
from typing import Any

from encoder import command, evaluated, figure, train

STATEMENTS = Path(__file__).resolve().parent.parent / "data" / "statements"
LINE = "net_profit"
MODELS = ("evidence", "none", "unseen")
HELD_OUT = ("generic_wording", "one_sided_coverage")
"""Kinds that one of the models is never shown."""


def income_statements(path: Path, *, invented: bool = False) -> Path:
    """A line of the income statements of the shipped companies, or of invented ones like them."""
    with (STATEMENTS / "companies.csv").open(encoding="utf-8") as file:
        companies = {row["code"]: row for row in csv.DictReader(file)}
    rng = random.Random(7)
    names = {code: f"Company {i + 1}" for i, code in enumerate(companies)}
    with (
        (STATEMENTS / "income_statement.csv").open(encoding="utf-8") as file,
        path.open("w", encoding="utf-8", newline="") as out,
    ):
        table = csv.writer(out)
        table.writerow(["company", "field", "period", "industry", LINE])
        for row in csv.DictReader(file):
            one = companies[row["code"]]
            name = names[row["code"]] if invented else one["name_en"]
            value = float(row[LINE]) * (rng.uniform(0.6, 1.6) if invented else 1)
            table.writerow([name, one["field"], row["year"], one["industry_en"], f"{value:.2f}"])
    return path


def data(out: Path, pairs: int) -> tuple[Path, Path]:
    """Scored pairs to learn from, and pairs with planted errors about companies of their own."""
    statements = income_statements(out / "statements.csv")
    invented = income_statements(out / "invented.csv", invented=True)
    made, scored = out / "pairs.jsonl", out / "scored.jsonl"
    where = ("--language", "en", "--planted-share", 1)
    command(
        *("datagen", "pairs", "--out", made, "--statements", statements, "--pairs", pairs),
        *("--pairs-per-company", -(-pairs // 74), "--seed", 0, *where),
    )
    command("judge", "score", made, "--out", scored)
    planted, planted_scored = out / "planted.jsonl", out / "planted_scored.jsonl"
    command(
        *("datagen", "pairs", "--out", planted, "--statements", invented, "--pairs", 148),
        *("--pairs-per-company", 2, "--seed", 7, *where),
        *("--degradations", "simplified_calculation", "--neutral-share", 0),
    )
    command("judge", "score", planted, "--out", planted_scored)
    return scored, planted_scored


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/held_out"))
    parser.add_argument("--pairs", type=int, default=2072)
    parser.add_argument("--epochs", type=float, default=1.5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    scored, planted = data(out, options.pairs)
    settings: dict[str, Any] = {
        "max_length": 768,
        "window": 512,
        "max_prompt_length": 0,
        "evidence": "checks",
        "epochs": options.epochs,
        "batch_size": 4,
        "learning_rate": 1.5e-4,
        "eval_steps": 337,
        "head_learning_rate": 1e-3,
        "class_weights": "sqrt",
        "pair_weight": 0.5,
        "eval_share": 0.07,
        "test_share": 0.25,
    }
    unseen = [f"degradation={kind}" for kind in HELD_OUT]
    own: dict[str, dict[str, Any]] = {
        "evidence": {},
        "none": {"evidence": "none"},
        "unseen": {"hold_out": unseen},
    }
    models = {
        name: train(out, scored, name, {**settings, **changed})
        for name, changed in own.items()
        if name in options.models
    }
    if options.train_only:
        return
    for model in models.values():
        command("reward_model", "calibrate", model, scored)
    results = {
        name: evaluated(out, model, scored, name, *(["--compare"] if name == "evidence" else []))
        for name, model in models.items()
    }
    errors = {
        name: evaluated(out, models[name], planted, f"planted_{name}", "--split", "all")
        for name in models
        if name != "unseen"
    }
    if "evidence" in results:
        print_table(results["evidence"])
    if "unseen" in results:
        print_kinds(results["unseen"])
    print("\n| planted numeric errors | pair accuracy of the accuracy head |\n|---|---|")
    for name, result in errors.items():
        cell = figure(result["metrics"]["model"], "dimensions", "accuracy", "pair_accuracy")
        print(f"| {'with' if name == 'evidence' else 'without'} evidence | {cell} |")


def print_table(own: dict[str, Any]) -> None:
    """A model beside the baselines and a scalar, and its calibration, in Markdown."""
    split = own["split"]
    print(f"{split['pairs']} pairs, {split['texts']} texts, {split['groups']} companies never seen")
    columns = [name for name in own["metrics"] if name != "model"]
    print("\n| | " + " | ".join(["this model", *(own["titles"][name] for name in columns)]) + " |")
    print("|---" * (len(columns) + 2) + "|")
    names = list(own["metrics"]["model"]["dimensions"])

    def row(label: str, *path: str) -> None:
        cells = [figure(own["metrics"][column], *path) for column in ("model", *columns)]
        print(f"| {label} | " + " | ".join(cells) + " |")

    row("pair accuracy, reward", "pair_accuracy")
    for metric, label in (("pair_accuracy", "pair accuracy"), ("kappa", "QWK"), ("ece", "ECE")):
        for name in names:
            row(f"{label}, {name}", "dimensions", name, metric)
    print("\n| calibration | temperature | ECE before | after |\n|---|---|---|---|")
    for name, entry in own["calibration"].items():
        before, after = figure(entry["ece_before"]), figure(entry["ece_after"])
        print(f"| {name} | {entry['temperature']:.2f} | {before} | {after} |")


def print_kinds(unseen: dict[str, Any]) -> None:
    """Kinds of degradation that were trained on beside those that never were, in Markdown."""
    names = list(unseen["metrics"]["model"]["dimensions"])
    print("\n| kinds of degradation | pair accuracy | QWK " + " | QWK ".join(names) + " |")
    print("|---" * (len(names) + 2) + "|")
    for value, slice_ in unseen["slices"]["training"].items():
        cells = [figure(slice_, "dimensions", name, "kappa") for name in names]
        print(f"| {value} | {figure(slice_, 'pair_accuracy')} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
