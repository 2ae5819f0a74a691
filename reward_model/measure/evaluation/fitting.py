"""The baselines of an evaluation: what they read, and on which texts they are fitted.

`fit_baselines(scorer, test, train, level_power(model), seed)` gives their word on the measured
texts, fitted on the training texts or, without any, across the measured ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reward_model.data.dataset import Sample
from reward_model.data.held_out import folds
from reward_model.data.tokens.inputs import plain_ids
from reward_model.measure.evaluation.baselines import TITLES, MeasuredTexts, predict_all
from reward_model.model.card import read_parts
from reward_model.records import as_text
from reward_model.records.terminal import progress
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import Floats
from reward_model.stats.levels import POWERS


def level_power(model: Path) -> float | None:
    """How much more rare levels counted when the model was trained; None where nobody wrote it."""
    settings = read_parts(model).get("training", {}).get("settings")
    known = settings.get("class_weights") if isinstance(settings, dict) else None
    return POWERS.get(known) if isinstance(known, str) else None


def fit_baselines(
    scorer: RewardScorer,
    test: Sequence[Sample],
    train: Sequence[Sample],
    power: float | None,
    seed: int,
) -> tuple[dict[str, Floats], list[str]]:
    """Probabilities of every baseline for `test`, and in words what they read and learned from."""
    reads = "the responses, whole"
    if scorer.builder.evidence == "checks":
        reads = "the responses, whole, with the evidence of checks"
    weighs = "levels weigh as in the training of the model"
    if power is None:
        weighs = "all texts weigh alike, as the training settings of the model are not known"
    settings: dict[str, Any] = {
        "names": scorer.dimensions,
        "classes": scorer.rubric.classes,
        "power": power or 0.0,
        "seed": seed,
    }
    if train:
        known, asked = _texts(scorer, train), _texts(scorer, test)
        fitted = predict_all(known, asked, **settings)
        words = f"fitted on the {len(train)} training texts; TF-IDF reads {reads}; {weighs}"
        return fitted.chances, [words, *fitted.notes]
    parts = folds(test, seed)
    if len(parts) < 2:
        return {}, ["no baselines: no training texts at hand and one group only"]
    whole = _texts(scorer, test)
    out: dict[str, Floats] = {
        name: np.full((len(test), len(scorer.dimensions), scorer.rubric.classes), np.nan)
        for name in TITLES
    }
    notes: list[str] = []
    for rows in parts:
        inside = set(rows)
        others = [i for i in range(len(test)) if i not in inside]
        fitted = predict_all(whole.take(others), whole.take(rows), **settings)
        notes += fitted.notes
        for name in list(out):
            if name in fitted.chances:
                out[name][rows] = fitted.chances[name]
            else:
                del out[name]  # what one part cannot be asked of, none is
    words = (
        f"fitted on the other {len(parts) - 1} of {len(parts)} parts of these very texts by group, "
        "for want of training texts (--train-data), which favours them; TF-IDF reads "
        f"{reads}; {weighs}"
    )
    return out, [words, *dict.fromkeys(notes)]


def _texts(scorer: RewardScorer, samples: Sequence[Sample]) -> MeasuredTexts:
    from reward_model.checks import evidence

    checked = scorer.builder.evidence == "checks"
    with progress(transient=True) as bar:
        task = bar.add_task("read texts for the baselines", total=len(samples), note="")
        texts, tokens = [], []
        for sample in samples:
            response = as_text(sample.response)
            told = evidence(as_text(sample.prompt), response) if checked else ""
            texts.append(f"{told}\n{response}")
            tokens.append(len(plain_ids(scorer.tokenizer, response)))
            bar.update(task, advance=1)
    return MeasuredTexts(
        texts,
        [len(as_text(sample.response)) for sample in samples],
        tokens,
        np.array([sample.labels for sample in samples], dtype=np.int64),
        [sample.group for sample in samples],
    )
