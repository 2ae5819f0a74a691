"""The worst mistakes of a model: pairs in the wrong order, texts levels away from their label."""

from __future__ import annotations

from typing import Any

from reward_model.measure.evaluation.run import Evaluation
from reward_model.measure.evaluation.worst import furthest_texts, wrong_pairs
from reward_model.records import IGNORE, Text, as_text

MOST = 10
CHARACTERS = 6000
"""Of a text that a page quotes; longer ones lose their middle."""


def worst_pairs(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Preference pairs whose rejected side got the higher or the same reward, widest gap first."""
    return [
        {
            "gap": gap,
            "pair": evaluation.samples[chosen].pair,
            "about": _about(evaluation, chosen),
            "prompt": quote(evaluation.samples[chosen].prompt),
            "sides": [text_of(evaluation, chosen), text_of(evaluation, rejected)],
        }
        for gap, chosen, rejected in wrong_pairs(evaluation.truth, evaluation.scores)[:MOST]
    ]


def worst_texts(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Texts whose expected levels are furthest from their labels, summed over the dimensions."""
    order = furthest_texts(evaluation.truth, evaluation.probabilities)[:MOST]
    return [
        {
            "off": off,
            "pair": evaluation.samples[i].pair,
            "about": _about(evaluation, i),
            "prompt": quote(evaluation.samples[i].prompt),
            "sides": [text_of(evaluation, i)],
        }
        for off, i in order
    ]


def text_of(evaluation: Evaluation, row: int) -> dict[str, Any]:
    """One response with what was said of it, for the page."""
    sample, score = evaluation.samples[row], evaluation.scores[row]
    return {
        "side": sample.side,
        "reward": score.reward,
        "text": quote(sample.response),
        "truncated": score.response_truncated,
        "explanation": row if row in evaluation.explained else None,
        "levels": [
            {
                "dimension": name,
                "label": None if label == IGNORE else label,
                "expected": score.levels.get(name),
                "predicted": score.predicted.get(name),
            }
            for name, label in zip(evaluation.rubric.names, sample.labels, strict=True)
        ],
    }


def quote(text: Text) -> str:
    """A text as a page shows it: whole, or its head and tail with the gap marked.

    >>> quote("short")
    'short'
    >>> len(quote("x" * 100_000)) < 6100
    True
    """
    plain = as_text(text)
    if len(plain) <= CHARACTERS:
        return plain
    half = CHARACTERS // 2
    left_out = len(plain) - 2 * half
    return f"{plain[:half]}\n\n[… {left_out:,} characters left out …]\n\n{plain[-half:]}"


def _about(evaluation: Evaluation, row: int) -> str:
    sample = evaluation.samples[row]
    severity = None if sample.severity is None else f"severity {sample.severity}"
    parts = [sample.field, sample.metadata.company, sample.degradation, severity]
    return " · ".join(part for part in parts if part)
