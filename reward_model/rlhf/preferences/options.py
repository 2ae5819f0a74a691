"""What `reward-model prefer` is asked for, and what it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from reward_model.records import UserError
from reward_model.rlhf.preferences.pairs import Filters, How
from reward_model.rlhf.preferences.rewards import SCORES, SCORES_CONFIG

Format = Literal["dpo", "orpo", "cpo", "reward", "kto", "grpo"]
"""Trainers; the first four read the same columns."""


ROWS, CARD, CONFIG = "train.jsonl", "README.md", "config.json"
WRITTEN = (ROWS, CARD, CONFIG, SCORES, SCORES_CONFIG)
COMMAND = "reward-model prefer"
REPEATED = "a row that is there already"
OTHER_WAY = "the judge prefers the rejected side"
NEUTRAL = "neutral pairs, which are controls"


@dataclass(frozen=True)
class PreferOptions:
    """What makes preferences of rewards."""

    to: Format = "dpo"
    how: How = "best-worst"
    min_margin: float = 0.0
    z: float = 0.0
    threshold: float | None = None
    seed: int = 0

    @property
    def filters(self) -> Filters:
        """Of the margin."""
        return Filters(self.min_margin, self.z)

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UserError: naming the option.
        """
        for name, value, known in (
            ("--format", self.to, get_args(Format)),
            ("--pairs", self.how, get_args(How)),
        ):
            if value not in known:
                raise UserError(f"{name} {value!r}", expected=f"one of {', '.join(known)}")
        if not 0 <= self.min_margin <= 1:
            raise UserError(f"--min-margin {self.min_margin}", expected="a reward, from 0 to 1")
        if not 0 <= self.z < float("inf"):
            raise UserError(f"--z {self.z}", expected="a number from 0 up")
        if self.threshold is not None and self.to != "kto":
            raise UserError(f"--threshold with --format {self.to}", expected="--format kto")
        by_threshold = self.threshold is not None
        drawn = self.how == "best-random"
        prompts_alone = self.to == "grpo" and not (self.min_margin or self.z)
        if self.how != "best-worst" and (by_threshold or prompts_alone):
            raise UserError(
                f"--pairs {self.how} with {'--threshold' if by_threshold else '--format grpo'}",
                expected="it where completions are compared"
                + ("" if by_threshold else ": with --min-margin or --z"),
            )
        if self.seed and not drawn:
            raise UserError("--seed without --pairs best-random", expected="it with what is drawn")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UserError(f"--threshold {self.threshold}", expected="a reward, from 0 to 1")


@dataclass
class Counts:
    """What became of everything that was read."""

    rows_read: int = 0
    prompts: int = 0
    completions: int = 0
    written: int = 0
    desirable: int | None = None
    """KTO: rows with the label true."""
    dropped_completions: Counter[str] = field(default_factory=Counter)
    dropped_pairs: Counter[str] = field(default_factory=Counter)
    dropped_rows: Counter[str] = field(default_factory=Counter)
    mean_margin: float | None = None
    languages: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """For `--json` and config.json; reasons sorted, so that equal runs give equal files."""
        return {
            name: dict(sorted(value.items())) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }
