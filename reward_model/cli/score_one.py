"""`reward-model score MODEL --response TEXT`: one response, as a table a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_model.records import read_text
from reward_model.records.terminal import console, table
from reward_model.records.texts import language_of
from reward_model.rubrics import Rubric, say

if TYPE_CHECKING:
    from rich.table import Table

    from reward_model.score.scorer import Score


def text_or_file(value: str) -> str:
    """The text itself, or with a leading @ the content of the file it names.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.

    >>> text_or_file("Margins rose.")
    'Margins rose.'
    """
    return read_text(value[1:]) if value.startswith("@") else value


def score_one(
    models: Path | Sequence[Path],
    prompt: str,
    response: str,
    *,
    how: str = "mean",
    weights: dict[str, float] | None = None,
    risk: float = 0.0,
    device: str | None = None,
) -> dict[str, Any]:
    """Score one response, show it as a table, and return it as JSON."""
    from reward_model.model.folder import read_rubric
    from reward_model.score.files.workers import Models

    asked, answer = text_or_file(prompt), text_or_file(response)
    paths = (models,) if isinstance(models, Path) else tuple(models)
    for path in paths:  # a wrong folder is said before anything slow happens
        read_rubric(path)
    scorer = Models(paths, how, weights, risk, device).load()
    score = scorer.score(asked, answer)
    screen = console()
    screen.print(score_table(score, scorer.rubric, scorer.weights, language_of(answer)))
    for words in truncation_words(score, scorer.max_length):
        screen.print(words, markup=False)
    return score.to_json()


def bars(probabilities: list[float]) -> str:
    """A bar a level, as tall as its probability.

    >>> bars([0.0, 0.12, 0.38, 0.5, 1.0])
    '▁▂▄▅█'
    """
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(p * 8 + 0.25))] for p in probabilities)


def score_table(score: Score, rubric: Rubric, weights: dict[str, float], language: str) -> Table:
    """Every dimension's level, distribution and uncertainty, and the scalar reward."""
    from rich.table import Column

    if score.reward is None:
        return table(f"no reward: {score.reason}")
    spread = "" if score.spread is None else f", ± {score.spread:.3f} between models"
    out = table(
        f"reward {score.reward:.3f} (0 to 1){spread}, levels 0 to {rubric.scale}",
        *("dimension", "level", "± sd", "weight"),
        Column(f"0–{rubric.scale}"),
        *(f"P{level}" for level in range(rubric.classes)),
    )
    for name in rubric.names:
        chances = score.probabilities[name]
        likely = score.predicted[name]
        out.add_row(
            say(rubric.dimension(name).title, language) or name,
            f"[bold]{score.levels[name]:.2f}",
            f"{score.uncertainty[name]:.2f}",
            f"{weights[name]:.0%}",
            bars(chances),
            *(f"[bold]{p:.0%}" if i == likely else f"{p:.0%}" for i, p in enumerate(chances)),
        )
    return out


def truncation_words(score: Score, max_length: int) -> list[str]:
    """What of the texts the model did not see."""
    words = []
    if score.prompt_truncated:
        words.append(f"the prompt was not read whole: it gives way within {max_length} tokens")
    if score.response_truncated:
        words.append(f"the response did not fit {max_length} tokens: its middle was not judged")
    return words
