"""Held-out texts, their scores and their truth as arrays: what every measurement begins with.

`scores = score_texts(scorer, samples)`, then `probabilities_of(scores, rubric)` beside
`truth_of(samples, rubric)` goes into `reward_model.stats.metrics.collect`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reward_model.data.dataset import Sample, pair_indices
from reward_model.data.held_out import HeldOut
from reward_model.data.split import SPLIT, Split, fingerprint, read_split
from reward_model.model.card import read_parts
from reward_model.records import IGNORE, Text, as_text
from reward_model.records.terminal import progress
from reward_model.rubrics import Rubric
from reward_model.score.scorer import RewardScorer, Score
from reward_model.stats.bootstrap import Floats
from reward_model.stats.evaluated import ByChance, EvaluationInput
from reward_model.stats.metrics import Truth, perfect_error

_CHUNK = 64


class Asked(Protocol):
    """What is scored: a sample, or an edit of one."""

    @property
    def prompt(self) -> Text:
        """What was asked."""

    @property
    def response(self) -> Text:
        """What is judged."""


def score_texts(scorer: RewardScorer, samples: Sequence[Asked]) -> list[Score]:
    """Scores in the order of the texts, with a bar."""
    with progress(transient=True) as bar:
        task = bar.add_task("score held-out texts", total=len(samples), note="")
        return score_all(scorer, samples, lambda count: bar.update(task, advance=count))


def score_all(
    scorer: RewardScorer, texts: Sequence[Asked], tell: Callable[[int], None]
) -> list[Score]:
    """Scores in the order of the texts; `tell(count)` after each chunk of them."""
    scores: list[Score] = []
    # Sorted by length, a chunk holds texts alike, so little of a batch is padding.
    order = sorted(range(len(texts)), key=lambda i: len(as_text(texts[i].response)))
    for start in range(0, len(order), _CHUNK):
        rows = [texts[i] for i in order[start : start + _CHUNK]]
        scores += scorer.score_batch([s.prompt for s in rows], [s.response for s in rows])
        tell(len(rows))
    place = {row: i for i, row in enumerate(order)}
    return [scores[place[i]] for i in range(len(texts))]


def truth_of(samples: Sequence[Sample], rubric: Rubric) -> Truth:
    """Labels, groups and pairs as arrays."""

    def pairs(neutral: bool) -> Any:
        found = pair_indices(samples, neutral=neutral)
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    return Truth(
        rubric.names,
        np.array([sample.labels for sample in samples], dtype=np.int64),
        tuple(sample.group for sample in samples),
        pairs(neutral=False),
        pairs(neutral=True),
    )


def split_of(model: Path) -> Split | None:
    """The split a model was trained on; None where its folder has none."""
    there = any((folder / SPLIT).exists() for folder in (model, model.parent))
    return read_split(model) if there else None


def probabilities_of(scores: Sequence[Score], rubric: Rubric) -> Floats:
    """[n, D, K]; a row of NaN for a text without an opinion."""
    silent = np.full((len(rubric.names), rubric.classes), np.nan)
    rows = [
        silent if s.reward is None else np.array([s.probabilities[n] for n in rubric.names])
        for s in scores
    ]
    return np.array(rows).reshape(-1, *silent.shape)


def fitted_on(model: Path, held: HeldOut) -> list[str]:
    """A sentence where the model's temperatures were fitted on the very texts it is measured on."""
    fitted = read_parts(model).get("calibration", {}).get("fitted_on", {})
    same = fitted.get("data") == fingerprint(held.test)
    if not same and not (fitted.get("part") == "test" and held.part in ("test", "all")):
        return []
    return [
        "the temperatures were fitted on these texts: calibration errors after it are optimistic, "
        "measure them on texts it has not seen"
    ]


def without_temperatures(probabilities: Floats, scorer: RewardScorer) -> Floats | None:
    """What the model would say without temperature scaling; None where it has none.

    Logits z over T give chances p; p to the power of T, scaled to sum to 1, are those of z.
    """
    known = scorer.model.config.temperatures
    if not known:
        return None
    temperatures = np.array([known.get(name, 1.0) for name in scorer.dimensions])
    top = probabilities.max(axis=-1, keepdims=True)
    raised = (probabilities / top) ** temperatures[:, None]
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def ece_if_perfect(probabilities: Floats, truth: Truth, seed: int) -> dict[str, ByChance | None]:
    """Dimension -> calibration error that chance alone gives these confidences on these labels."""
    out: dict[str, ByChance | None] = {}
    for j, name in enumerate(truth.names):
        sure = probabilities[truth.labels[:, j] != IGNORE, j].max(axis=-1)
        found = perfect_error(sure[np.isfinite(sure)], seed=seed)
        out[name] = None if found is None else ByChance(mean=found[0], high=found[1])
    return out


def input_of(scores: Sequence[Score], scorer: RewardScorer) -> EvaluationInput:
    """What the model reads, and what of the texts it did not."""
    count = max(1, len(scores))
    reasons: dict[str, int] = {}
    for score in scores:
        if score.reason is not None:
            reasons[score.reason] = reasons.get(score.reason, 0) + 1
    return EvaluationInput(
        max_length=scorer.builder.max_length,
        evidence=scorer.builder.evidence,
        max_prompt_length=scorer.builder.max_prompt_length,
        prompts_truncated=sum(s.prompt_truncated for s in scores) / count,
        responses_truncated=sum(s.response_truncated for s in scores) / count,
        no_opinion=reasons,
    )
