"""Policy against reference before a judge: two sides of a pair, drawn by seed.

`write_duel` makes rows for `judge score duel.jsonl --mode pairwise`; `read_judged` reads what comes
back.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reward_model.policy.evaluation.answers import Sampled
from reward_model.policy.evaluation.numbers import Numbers, Told
from reward_model.records import Pair, UserError, read_pairs, write_jsonl


def write_duel(path: Path, name: str, own: Sampled, before: Sampled, seed: int) -> None:
    """One pair a prompt, the first answer of both; equal or empty ones are no duel."""
    rng = random.Random(f"duel:{seed}")
    rows = []
    for n, row in enumerate(own.rows):
        ours, theirs = own.said[n][0], before.said[n][0]
        side = rng.choice(["chosen", "rejected"])
        if not ours.text.strip() or not theirs.text.strip() or ours.text == theirs.text:
            continue
        sides = {"chosen": theirs.text, "rejected": theirs.text, side: ours.text}
        rows.append(
            {
                "id": f"{name}-{n}",
                "prompt": row.prompt
                if isinstance(row.prompt, str)
                else [m.model_dump() for m in row.prompt],
                **sides,
                "metadata": {
                    "prompt_id": row.group,
                    "run": name,
                    "policy_side": side,
                    "length_difference": len(ours.ids) - len(theirs.ids),
                },
            }
        )
    write_jsonl(path, rows)


@dataclass
class Judged:
    """What a judge said of the duels of one run."""

    outcomes: list[float]
    """1 for a win of the policy, 0.5 for a tie, 0 for a loss."""
    differences: list[float]
    names: list[str]
    inconsistent: float | None
    """Share of questions whose answer turned with the order."""

    @property
    def groups(self) -> int:
        """Prompts."""
        return len(set(self.names))

    def tell(self, told: Told, seed: int, resamples: int) -> None:
        """Put the win rates beside a run's other numbers."""
        won = np.array(self.outcomes)
        numbers = Numbers(self.names, seed=seed, resamples=resamples)
        # Half a win for a tie: an even judge is at 0.5.
        told.add("judge_win_rate", numbers.mean(won))
        told.add("judge_tie_rate", numbers.mean((won == 0.5).astype(float), share=True))
        told.add(
            "judge_win_rate_equal_length", numbers.equal_length(won, np.array(self.differences))
        )
        told.values["judge_inconsistent"] = self.inconsistent


def read_judged(path: Path, name: str) -> Judged | None:
    """The duels of a run; None where the file has none of it.

    Raises:
        UserError: pairs that are no duel.
    """
    found = Judged([], [], [], None)
    turned: Counter[str] = Counter()
    seen = 0
    for pair in read_pairs(path):
        about: Mapping[str, Any] = pair.metadata.model_extra or {}
        if "policy_side" not in about:
            raise UserError(
                "a pair without metadata.policy_side",
                expected="duel.jsonl of policy evaluate, after judge score --mode pairwise",
                path=path,
            )
        if about.get("run") != name:
            continue
        seen += 1
        gap = _gap(pair)
        if gap is None:
            continue
        sign = gap if about["policy_side"] == "chosen" else -gap
        found.outcomes.append(1.0 if sign > 0 else 0.0 if sign < 0 else 0.5)
        found.differences.append(float(about.get("length_difference", 0)))
        found.names.append(pair.group)
        swap = ((pair.scores.judge.model_extra or {}) if pair.scores and pair.scores.judge
                else {}).get("swap") or {}  # fmt: skip
        for one in swap.values():
            turned["questions"] += one.get("questions", 0)
            turned["inconsistent"] += one.get("inconsistent", 0)
    if turned["questions"]:
        found.inconsistent = turned["inconsistent"] / turned["questions"]
    return found if seen and found.outcomes else None


def _gap(pair: Pair) -> float | None:
    """Mean difference of the levels, chosen less rejected."""
    if pair.scores is None:
        return None
    gaps = [pair.scores.gap(d) for d in pair.scores.chosen]
    known = [g for g in gaps if g is not None]
    return float(np.mean(known)) if known else None
