"""What a small pretrained encoder learns from the embedded writer's English reports.

    python benchmarks/held_out.py [--out FOLDER] [--pairs 7104] [--epochs 2] [--models NAME ...]

Writes reports and degradations of severity 2 to 4, scores them and keeps the pairs that `judge
validate` finds good. Trains all-MiniLM-L6-v2 with and without the evidence of checks, never showing
two kinds of degradation, calibrates, and measures on companies never seen, by kinds trained on and
never trained on, beside Bradley-Terry (TRL's RewardTrainer) on the same backbone. Prints the tables
of docs/evaluate.md. The reports are on one line of the income statement, so that they are short and
a CPU gets through. Every step is a command of this package; what is finished is not run again. With
`--steps train` models can learn side by side, a core each, once `--steps data` is done.
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
MODELS = ("evidence", "none")
STEPS = ("data", "train", "measure")
HELD_OUT = ("generic_wording", "one_sided_coverage")
"""Kinds that training never shows; each of its dimension's two."""


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


def data(out: Path, pairs: int) -> None:
    """Good pairs to learn from, and pairs with planted errors about companies of their own."""
    statements = income_statements(out / "statements.csv")
    invented = income_statements(out / "invented.csv", invented=True)
    made, scored, good = (out / name for name in ("pairs.jsonl", "scored.jsonl", "good.jsonl"))
    where = ("--language", "en", "--planted-share", 1)
    command(
        *("datagen", "pairs", "--out", made, "--statements", statements, "--pairs", pairs),
        *("--pairs-per-company", -(-pairs // 74), "--seed", 1, *where),
        *("--severities", "2,3,4", "--neutral-share", 0.1),
    )
    command("judge", "score", made, "--out", scored)
    command("judge", "validate", scored, good, "--min-gap", 0.5, "--require-target")
    planted = out / "planted.jsonl"
    command(
        *("datagen", "pairs", "--out", planted, "--statements", invented, "--pairs", 148),
        *("--pairs-per-company", 2, "--seed", 7, *where),
        *("--degradations", "simplified_calculation", "--neutral-share", 0),
    )
    command("judge", "score", planted, "--out", out / "planted_scored.jsonl")


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/held_out"))
    parser.add_argument("--pairs", type=int, default=7104)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if "data" in options.steps:
        data(out, options.pairs)
    good, planted = out / "good.jsonl", out / "planted_scored.jsonl"
    settings: dict[str, Any] = {
        "max_length": 768,
        "window": 512,
        "max_prompt_length": 0,
        "epochs": options.epochs,
        "batch_size": 4,
        "learning_rate": 2e-4,
        "eval_steps": 500,
        "head_learning_rate": 1e-3,
        "class_weights": "sqrt",
        "pair_weight": 0.5,
        "eval_share": 0.1,
        "test_share": 0.25,
        "hold_out": [f"degradation={kind}" for kind in HELD_OUT],
    }
    if "train" in options.steps:
        for name in options.models:
            evidence = "checks" if name == "evidence" else "none"
            train(out, good, name, {**settings, "evidence": evidence})
    if "measure" not in options.steps:
        return
    models = {name: out / name / "best" for name in options.models}
    for model in models.values():
        command("reward_model", "calibrate", model, good)
    errors = {
        name: evaluated(out, model, planted, f"planted_{name}", "--split", "all")
        for name, model in models.items()
    }
    if "evidence" in models:
        print_tables(evaluated(out, models["evidence"], good, "evidence", "--compare"))
    print("\n| planted numeric errors | pair accuracy of the accuracy head |\n|---|---|")
    for name, result in errors.items():
        cell = figure(result["metrics"]["model"], "dimensions", "accuracy", "pair_accuracy")
        print(f"| {'with' if name == 'evidence' else 'without'} evidence | {cell} |")


def print_tables(own: dict[str, Any]) -> None:
    """A model beside the baselines and a scalar, and its calibration, in Markdown."""
    split, titles = own["split"], own["titles"]
    counts = f"{split['pairs']} pairs, {split['texts']} texts"
    print(f"\n{counts}, {split['groups']} companies never seen\n")
    print_table(own["metrics"], titles)
    for kinds, part in own["by_training"].items():
        print(f"\n{part['pairs']} of these pairs, {part['texts']} texts, {kinds}\n")
        print_table(part["metrics"], titles)
    print("\n| calibration | temperature | ECE before | after |\n|---|---|---|---|")
    for name, entry in own["calibration"].items():
        before, after = figure(entry["ece_before"]), figure(entry["ece_after"])
        print(f"| {name} | {entry['temperature']:.2f} | {before} | {after} |")


def print_table(metrics: dict[str, Any], titles: dict[str, str]) -> None:
    """A row a number, a column a predictor."""
    columns = ["model", *(name for name in metrics if name not in ("model", "majority"))]
    print("| | " + " | ".join(titles[name] for name in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")

    def row(label: str, *path: str) -> None:
        cells = [figure(metrics[column], *path) for column in columns]
        print(f"| {label} | " + " | ".join(cells) + " |")

    row("pair accuracy, reward", "pair_accuracy")
    for metric, label in (("pair_accuracy", "pair accuracy"), ("kappa", "QWK"), ("ece", "ECE")):
        for name in metrics["model"]["dimensions"]:
            row(f"{label}, {name}", "dimensions", name, metric)


if __name__ == "__main__":
    main()
