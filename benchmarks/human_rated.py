"""A small pretrained encoder on human ratings and on real reports, as they are.

    python benchmarks/human_rated.py [--out FOLDER] [--epochs 8]

Trains all-MiniLM-L6-v2 on the human-rated HelpSteer rows (five heads) and on the 15 real report
pairs of $REWARD_TEST_DATA, else of ../shared/data beside the repository, and prints what it is
worth on prompts never seen, with bootstrap intervals by prompt, beside the baselines.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from encoder import evaluated, figure, train

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("REWARD_TEST_DATA", ROOT.parent / "shared" / "data"))


def main() -> None:
    """Run what is missing and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/human_rated"))
    parser.add_argument("--epochs", type=float, default=8)
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    common = {
        "epochs": options.epochs,
        "batch_size": 8,
        "learning_rate": 2e-4,
        "head_learning_rate": 1e-3,
        "class_weights": "sqrt",
        "window": 256,
    }
    runs: dict[str, dict[str, Any]] = {
        "helpsteer_single": {"rubric": "helpsteer", "max_length": 768},
        "finreport_pairs_0to4": {"max_length": 2048, "max_prompt_length": 0, "evidence": "checks"},
    }
    for name, settings in runs.items():
        scored = DATA / f"{name}.jsonl"
        model = train(out, scored, name, {**common, **settings, "test_share": 0.25})
        print_table(name, evaluated(out, model, scored, name))


def print_table(name: str, result: dict[str, Any]) -> None:
    """Numbers and notes of one data set, in Markdown."""
    split, metrics = result["split"], result["metrics"]
    print(f"\n### {name}: {split['texts']} texts, {split['groups']} groups never seen\n")
    columns = {key: result["titles"].get(key, "this model") for key in metrics}
    print("| | " + " | ".join(columns.values()) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for metric, label in (("kappa", "QWK"), ("mae_expected", "MAE"), ("pair_accuracy", "pairs")):
        for dimension, found in metrics["model"]["dimensions"].items():
            if found[metric].get("reason") == "no pairs":
                continue
            cells = [figure(metrics[c], "dimensions", dimension, metric) for c in columns]
            print(f"| {label}, {dimension} | " + " | ".join(cells) + " |")
    print()
    for note in result["notes"]:
        print(f"- {note}")


if __name__ == "__main__":
    main()
