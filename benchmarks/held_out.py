"""What a small pretrained encoder learns from the embedded writer's English reports.

    python benchmarks/held_out.py [--out FOLDER] [--epochs 2] [--models NAME ...] [--steps NAME ...]

Writes reports and degradations of severity 2 to 4, scores them and keeps the pairs that `judge
validate` finds good. Trains all-MiniLM-L6-v2 three times, calibrates, measures on companies never
seen, and prints the tables of docs/evaluate.md:

- `kinds` is never shown two kinds of degradation, and stands beside Bradley-Terry (TRL's
  RewardTrainer) on the same backbone;
- `evidence` and `none` are shown every kind, with and without the evidence of checks, and have to
  find figures that code has planted.

The reports are on one line of the income statement, so that they are short and a CPU gets through.
Every step is a command of this package; what is finished is not run again. With `--steps train`
models can learn side by side, a core each, once `--steps data` is done.
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
PAIRS = {"kinds": 7104, "errors": 3552}
"""Data set -> pairs asked for; about half of them are good."""
MODELS = {"kinds": "kinds", "evidence": "errors", "none": "errors"}
"""Model -> its data set."""
STEPS = ("data", "train", "measure")
HELD_OUT = ("generic_wording", "one_sided_coverage")
"""Kinds that `kinds` is never shown; of both, another kind lowers the same dimension."""


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


def data(out: Path, name: str) -> None:
    """Good pairs to learn from."""
    statements = income_statements(out / "statements.csv")
    made, scored, good = (out / f"{name}_{part}.jsonl" for part in ("pairs", "scored", "good"))
    command(
        *("datagen", "pairs", "--out", made, "--statements", statements, "--language", "en"),
        *("--pairs", PAIRS[name], "--pairs-per-company", -(-PAIRS[name] // 74)),
        *("--severities", "2,3,4", "--neutral-share", 0.1, "--planted-share", 1),
        *("--seed", 1 if name == "kinds" else 0),
    )
    command("judge", "score", made, "--out", scored)
    command("judge", "validate", scored, good, "--min-gap", 0.5, "--require-target")


def planted_errors(out: Path) -> Path:
    """Pairs that differ in figures planted by code, about companies of their own."""
    invented = income_statements(out / "invented.csv", invented=True)
    made, scored = out / "planted.jsonl", out / "planted_scored.jsonl"
    command(
        *("datagen", "pairs", "--out", made, "--statements", invented, "--language", "en"),
        *("--pairs", 148, "--pairs-per-company", 2, "--planted-share", 1, "--seed", 7),
        *("--degradations", "simplified_calculation", "--neutral-share", 0),
    )
    command("judge", "score", made, "--out", scored)
    return scored


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/held_out"))
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if "data" in options.steps:
        for name in dict.fromkeys(MODELS[name] for name in options.models):
            data(out, name)
    if "train" in options.steps:
        for name in options.models:
            train(out, out / f"{MODELS[name]}_good.jsonl", name, settings(name, options.epochs))
    if "measure" in options.steps:
        for name in options.models:
            measure(out, name)
        print_errors(out, [name for name in options.models if name != "kinds"])


def settings(name: str, epochs: float) -> dict[str, Any]:
    """How a model is trained."""
    shared = {
        "max_length": 768,
        "window": 512,
        "max_prompt_length": 0,
        "evidence": "none" if name == "none" else "checks",
        "epochs": epochs,
        "batch_size": 4,
        "learning_rate": 2e-4,
        "head_learning_rate": 1e-3,
        "class_weights": "sqrt",
        "pair_weight": 0.5,
        "eval_share": 0.1,
        "test_share": 0.25,
    }
    if name != "kinds":
        return {**shared, "eval_steps": 300}
    return {**shared, "eval_steps": 500, "hold_out": [f"degradation={one}" for one in HELD_OUT]}


def measure(out: Path, name: str) -> None:
    """Calibrate a model, and print its tables."""
    model, good = out / name / "best", out / f"{MODELS[name]}_good.jsonl"
    command("reward_model", "calibrate", model, good)
    compare = ["--compare"] if name == "kinds" else []
    print(f"\n## {name}")
    print_tables(evaluated(out, model, good, name, *compare))


def print_errors(out: Path, names: list[str]) -> None:
    """Pair accuracy of the accuracy head on planted errors, with and without evidence."""
    if not names:
        return
    planted = planted_errors(out)
    print("\n| planted numeric errors | pair accuracy of the accuracy head |\n|---|---|")
    for name in names:
        model = out / name / "best"
        result = evaluated(out, model, planted, f"planted_{name}", "--split", "all")
        cell = figure(result["metrics"]["model"], "dimensions", "accuracy", "pair_accuracy")
        print(f"| {'without' if name == 'none' else 'with'} evidence | {cell} |")


def print_tables(own: dict[str, Any]) -> None:
    """A model beside the baselines and a scalar, and its calibration, in Markdown."""
    split, titles = own["split"], own["titles"]
    counts = f"{split['pairs']} pairs, {split['texts']} texts"
    print(f"\n{counts}, {split['groups']} companies never seen\n")
    print_table(own["metrics"], titles)
    for kinds, part in own.get("by_training", {}).items():
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
