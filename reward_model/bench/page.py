"""The page of a bench: one HTML file, nothing loaded from anywhere."""

from __future__ import annotations

from typing import Any

from reward_model.bench.words import figure, metrics, notes, verdicts
from reward_model.records.page import PageLanguage, phrases, render


def page(result: dict[str, Any], language: PageLanguage = "en") -> str:
    """The tables as a self-contained page."""
    return render(
        "reward_model.bench",
        "bench",
        say=phrases("reward_model.bench", "bench", language),
        result=result,
        figure=figure,
        metrics=metrics,
        verdicts=verdicts(result)[:5],
        notes=notes(result),
    )
