"""The quickstart over seeds and languages: what a newcomer's first run says, and how far it varies.

    python benchmarks/quickstart.py OUT [--seeds 5] [--languages zh,en]

Each run is `reward-model quickstart --language L --seed S` in a folder of OUT, and goes on where it
stopped; runs that are done are read again. Beside the reward and the levels stands TF-IDF, tuned on
the same training texts. Below the table stand the mean leads over it, with intervals by Student's t
over the runs, and in how many of them the lead is beyond doubt. "shuffled loses": the share of
held-out good reports whose reward falls when their words are shuffled, by the whole of
`score_batch`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.data.scrambled import shuffle_words
from reward_model.measure.texts import split_of
from reward_model.records import as_text
from reward_model.score.scorer import RewardScorer


def main() -> None:
    """Run what is missing, print one line a run and the mean of each language."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--languages", default="zh,en")
    options = parser.parse_args()
    print(
        "| | kept data | ready | depth QWK | professionalism QWK | accuracy QWK | reward r |"
        " reward pairs | fresh: good / flawed | targets not above | shuffled loses |\n"
        + "|---" * 11
        + "|"
    )
    every: list[dict[str, Any]] = []
    for language in options.languages.split(","):
        lines = [told(options.out, language, seed) for seed in range(options.seeds)]
        for seed, line in enumerate(lines):
            told_of = f"| {language}, seed {seed} | {line['kept']} | {line['ready']} | "
            print(told_of + " | ".join(cells(line)) + " |")
        words = ("kept", "ready", "better")
        mean = {
            name: np.mean([line[name] for line in lines], 0)
            for name in lines[0]
            if name not in words
        }
        print(f"| **{language}, mean** | | | " + " | ".join(cells(mean)) + " |", flush=True)
        every += lines
    print(f"\n| lead over TF-IDF in {len(every)} runs | mean [95%] | beyond doubt |\n|---|---|---|")
    for name in (*NAMES, "reward r"):
        leads = [line[name][0] - line[name][1] for line in every]
        print(f"| {name} | {interval_of(leads)} | {sum(name in x['better'] for x in every)} |")


def interval_of(leads: list[float]) -> str:
    """Mean with its 95% interval by Student's t."""
    mean = float(np.mean(leads))
    if len(leads) < 2:
        return f"{mean:+.3f}"
    off = float(stdtrit(len(leads) - 1, 0.975) * np.std(leads, ddof=1) / len(leads) ** 0.5)
    return f"{mean:+.3f} [{mean - off:+.3f}, {mean + off:+.3f}]"


def cells(line: dict[str, Any]) -> list[str]:
    """Model / TF-IDF of each number."""
    names = (*NAMES, "reward r", "reward pairs")
    pairs = [f"{line[name][0]:.2f} / {line[name][1]:.2f}" for name in names]
    fresh = f"{line['fresh'][0]:.2f} / {line['fresh'][1]:.2f}"
    return [*pairs, fresh, f"{line['targets']:.0%}", f"{line['shuffled']:.0%}"]


NAMES = ("depth", "professionalism", "accuracy")


def told(out: Path, language: str, seed: int) -> dict[str, Any]:
    """The numbers of one run, which is made where it is missing."""
    folder = out / f"{language}{seed}"
    command = ["-m", "reward_model", "quickstart", "--language", language, "--seed", str(seed)]
    if not (folder / "fresh_scored.jsonl").exists():
        out.mkdir(parents=True, exist_ok=True)
        with (out / f"{language}{seed}.log").open("w", encoding="utf-8") as log:
            subprocess.run(
                [sys.executable, *command, "--out", str(folder)], check=True, stderr=log, stdout=log
            )
    kept = json.loads((folder / "validation.json").read_bytes())["filtered"]["verdict"]["grade"]
    evaluation = json.loads((folder / "evaluation.json").read_bytes())
    metrics = evaluation["metrics"]
    found: dict[str, Any] = {"kept": kept, "ready": evaluation["answer"]["ready"]}
    both = (metrics["model"], metrics["tfidf"])
    for name in NAMES:
        found[name] = [one["dimensions"][name]["kappa"]["value"] for one in both]
    found["reward r"] = [one["reward_correlation"]["value"] for one in both]
    found["reward pairs"] = [one["pair_accuracy"]["value"] for one in both]
    found["better"] = {
        entry["dimension"] or "reward r"
        for entry in evaluation["comparisons"]
        if entry["metric"] in ("kappa", "reward_correlation") and entry["verdict"] == "better"
    }
    fresh = json.loads((folder / "fresh_scored.jsonl").read_text("utf-8").splitlines()[0])
    good, flawed = (fresh["reward_model"][side] for side in ("chosen", "rejected"))
    found["fresh"] = [good["reward"], flawed["reward"]]
    targets = fresh["metadata"]["defect_metadata"]["targets"]
    found["targets"] = np.mean([flawed["levels"][n] <= good["levels"][n] for n in targets])
    return {**found, "shuffled": shuffled(folder)}


def shuffled(folder: Path) -> float:
    """Share of held-out texts of the upper half that lose reward with their words shuffled."""
    scorer = RewardScorer.from_pretrained(folder / "model" / "best")
    samples, _ = read_samples(folder / "kept.jsonl", scorer.rubric)
    test = choose(samples, split_of(folder / "model" / "best")).test
    prompts = [as_text(sample.prompt) for sample in test]
    texts = [as_text(sample.response) for sample in test]
    before = np.array([score.reward for score in scorer.score_batch(prompts, texts)], float)
    rng = random.Random(0)
    mixed = [shuffle_words(text, rng) for text in texts]
    after = np.array([score.reward for score in scorer.score_batch(prompts, mixed)], float)
    good = before > np.median(before)
    return float((after < before)[good].mean())


if __name__ == "__main__":
    main()
