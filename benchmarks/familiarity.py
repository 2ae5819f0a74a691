"""Does a model know what it does not know? Familiarity beside the predicted spread.

    python benchmarks/familiarity.py MODEL SCORED [--other FILE] [--texts 200] [--seed 0]

MODEL is a trained model that keeps its familiarity, SCORED the file it was trained from: its test
groups are what it should know. Beside them stand the same texts with their second half repeated
three times, with their words shuffled, salad of their words, and the responses of FILE, of another
domain. AUROC: the chance that one of these looks stranger than a held-out text, by familiarity and
by the mean standard deviation of the level. Then the error of the most familiar texts against that
of the surest ones.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.data.scrambled import salad, shuffle_words
from reward_model.measure.evaluation.run import evaluate
from reward_model.measure.probing.run import draw
from reward_model.measure.texts import split_of
from reward_model.model.folder import load_bundle
from reward_model.records import as_text
from reward_model.score.files.rows import read_rows, row_texts
from reward_model.score.scorer import RewardScorer, Score


def repeated(text: str, rng: random.Random) -> str:
    """The second half three times more."""
    return text + ("\n" + text[len(text) // 2 :]) * 3


KINDS = {"repeated text": repeated, "shuffled words": shuffle_words, "salad": salad}


def main() -> None:
    """Print two tables and what it costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("scored", type=Path)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scorer = RewardScorer.from_pretrained(options.model)
    samples, _ = read_samples(options.scored, scorer.rubric)
    held_out = draw(choose(samples, split_of(options.model)).test, options.texts, options.seed)
    prompts = [as_text(sample.prompt) for sample in held_out]
    texts = [as_text(sample.response) for sample in held_out]
    own = scorer.score_batch(prompts, texts)
    print(f"{len(own)} held-out texts\n\n| against | texts | familiarity | predicted spread |")
    print("|---|---|---|---|")
    for kind, edit in KINDS.items():
        rng = random.Random(f"{options.seed}:{kind}")
        told(kind, own, scorer.score_batch(prompts, [edit(text, rng) for text in texts]))
    if options.other:
        rows = [
            part for line in read_rows(options.other) for part in row_texts(line, options.other)
        ]
        rows = random.Random(options.seed).sample(rows, min(len(rows), options.texts))
        told(
            "another domain",
            own,
            scorer.score_batch([one.prompt for one in rows], [one.response for one in rows]),
        )
    print(
        f"\nscoring takes {cost(options.model, prompts, texts):.3f} times as long with familiarity"
    )
    report = evaluate(options.model, options.scored, resamples=100).report.familiarity
    if report is not None:
        print("\n| texts answered | most familiar first | surest first | least error first |")
        print("|---|---|---|---|")
        for point in report.coverage:
            values = (point.error, point.error_by_spread, point.error_at_best)
            print(f"| {point.share:.0%} | " + " | ".join(f"{v:.3f}" for v in values) + " |")


def cost(model: Path, prompts: list[str], texts: list[str]) -> float:
    """Time of scoring with familiarity over that without: the least of five runs of each."""
    bundle = load_bundle(model)
    scorers = RewardScorer(bundle), RewardScorer(replace(bundle, familiarity=None))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(6):
        for scorer, found in zip(scorers, times, strict=True):
            began = time.process_time()
            scorer.score_batch(prompts, texts)
            found.append(time.process_time() - began)
    return min(times[0][1:]) / min(times[1][1:])


def told(kind: str, own: list[Score], other: list[Score]) -> None:
    """One row: how well each tells these texts from held-out ones."""
    both = [score for score in (*own, *other) if score.reward is not None]
    strange = [0] * sum(s.reward is not None for s in own)
    strange += [1] * (len(both) - len(strange))
    known = [-(score.familiarity or 0.0) for score in both]
    spread = [float(np.mean(list(score.uncertainty.values()))) for score in both]
    values = (roc_auc_score(strange, known), roc_auc_score(strange, spread))
    print(f"| {kind} | {sum(strange)} | {values[0]:.3f} | {values[1]:.3f} |")


if __name__ == "__main__":
    main()
