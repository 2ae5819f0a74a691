"""Preferences from rewards: which of several completions of a prompt is chosen, which rejected.

`preferences(candidates, "best-worst", Filters(min_margin=0.1))` gives the pairs and what was left
out and why; `dpo_row` and its like give the columns that preference trainers read.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reward_model.records import Text, as_text

How = Literal["best-worst", "best-random", "all"]
"""`best-worst`: the two ends; `best-random`: the best and any that is worse; `all`: every two."""

TIE = "a tie"
MARGIN = "margin below --min-margin"
UNCERTAIN = "margin within the uncertainty"
UNKNOWN = "uncertainty not known"
IDENTICAL = "identical to an earlier one"
ALONE = "fewer than two completions to compare"
BOTH = "chosen in one pair, rejected in another"


@dataclass(frozen=True)
class Candidate:
    """One completion and what its reward is."""

    text: Text
    reward: float | None
    """In [0, 1]; None where there is no opinion."""
    sd: float | None = None
    """Standard deviation of the reward; None where it is not known."""
    reason: str = ""
    """Why there is no opinion."""


@dataclass(frozen=True)
class Filters:
    """What a difference has to be to count as a preference."""

    min_margin: float = 0.0
    """Least difference of the rewards."""
    z: float = 0.0
    """Least difference in standard deviations of it; 0 does not look at uncertainty."""

    def objection(self, margin: float, *sds: float | None) -> str | None:
        """Why a difference does not count; None where it does.

        >>> Filters(z=1.0).objection(0.10, 0.03, 0.04), Filters(z=3.0).objection(0.10, 0.03, 0.04)
        (None, 'margin within the uncertainty')
        """
        if margin <= 0:
            return TIE
        if margin < self.min_margin:
            return MARGIN
        if self.z:
            known = [sd for sd in sds if sd is not None]
            if len(known) < len(sds):
                return UNKNOWN
            if margin < self.z * math.hypot(*known):
                return UNCERTAIN
        return None


@dataclass(frozen=True)
class Preference:
    """A chosen and a rejected completion of one prompt."""

    chosen: Candidate
    rejected: Candidate

    @property
    def margin(self) -> float:
        """Difference of the rewards, above 0."""
        return _gap(self.chosen, self.rejected)


def reward_sd(
    uncertainty: Mapping[str, float], weights: Mapping[str, float], scale: float
) -> float:
    """Standard deviation of the reward, the heads taken as independent of one another.

    Args:
        uncertainty: dimension -> standard deviation of its level, in levels.
        weights: dimension -> share in the reward.
        scale: highest level.

    >>> round(reward_sd({"depth": 0.8, "accuracy": 0.6}, {"depth": 0.5, "accuracy": 0.5}, 4), 3)
    0.125
    """
    return math.hypot(*(weights.get(name, 0.0) * sd for name, sd in uncertainty.items())) / scale


def usable(candidates: Sequence[Candidate]) -> tuple[list[Candidate], Counter[str]]:
    """Completions with a reward, each text once, and how many were left out for which reason.

    >>> usable([Candidate("a", 0.5), Candidate("a ", 0.5), Candidate("", None, reason="empty")])[1]
    Counter({'identical to an earlier one': 1, 'empty': 1})
    """
    kept: dict[str, Candidate] = {}
    dropped: Counter[str] = Counter()
    for candidate in candidates:
        text = as_text(candidate.text).strip()
        if candidate.reward is None:
            dropped[candidate.reason or "no reward"] += 1
        elif text in kept:
            dropped[IDENTICAL] += 1
        else:
            kept[text] = candidate
    return list(kept.values()), dropped


def preferences(
    candidates: Sequence[Candidate], how: How, filters: Filters, *, seed: str = "0"
) -> tuple[list[Preference], Counter[str]]:
    """Pairs of the completions of one prompt, and how many pairs were left out for which reason.

    Args:
        candidates: with rewards, from `usable`.
        how: which of them are set against each other.
        filters: what counts as a difference.
        seed: of the draw of `best-random`; give each prompt its own.

    >>> made, _ = preferences([Candidate("a", 0.2), Candidate("b", 0.9)], "best-worst", Filters())
    >>> made[0].chosen.text, made[0].rejected.text, round(made[0].margin, 3)
    ('b', 'a', 0.7)
    """
    if len(candidates) < 2:
        return [], Counter({ALONE: 1})
    # Stable: of equals, the earlier one is the better.
    ranked = sorted(candidates, key=lambda one: -_reward(one))
    best, worst = ranked[0], ranked[-1]
    if how == "all":
        drawn = [Preference(a, b) for i, a in enumerate(ranked) for b in ranked[i + 1 :]]
    elif how == "best-random":
        worse = [b for b in ranked[1:] if filters.objection(_gap(best, b), best.sd, b.sd) is None]
        drawn = [Preference(best, random.Random(seed).choice(worse or [worst]))]
    else:
        drawn = [Preference(best, worst)]
    made: list[Preference] = []
    dropped: Counter[str] = Counter()
    for pair in drawn:
        objection = filters.objection(pair.margin, pair.chosen.sd, pair.rejected.sd)
        if objection is None:
            made.append(pair)
        else:
            dropped[objection] += 1
    return made, dropped


def dpo_row(prompt: Text, pair: Preference, *, chat: bool) -> dict[str, Any]:
    """Columns of DPO, ORPO, CPO and of RewardTrainer, which alone looks at `margin`."""
    return {
        "prompt": _prompt(prompt, chat=chat),
        "chosen": _completion(pair.chosen.text, chat=chat),
        "rejected": _completion(pair.rejected.text, chat=chat),
        "margin": pair.margin,
    }


def kto_rows(
    prompt: Text, pairs: Sequence[Preference], *, chat: bool
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Columns of KTO from pairs: each text once, those that stand on both sides left out."""
    labels: dict[str, set[bool]] = {}
    texts: dict[str, Text] = {}
    for pair in pairs:
        for side, label in ((pair.chosen, True), (pair.rejected, False)):
            key = as_text(side.text)
            labels.setdefault(key, set()).add(label)
            texts[key] = side.text
    rows = [
        _kto(prompt, texts[key], found == {True}, chat=chat)
        for key, found in labels.items()
        if len(found) == 1
    ]
    torn = len(labels) - len(rows)
    return rows, Counter({BOTH: torn} if torn else {})


def kto_by_threshold(
    prompt: Text,
    candidates: Sequence[Candidate],
    threshold: float,
    filters: Filters,
    *,
    chat: bool,
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Columns of KTO: desirable at `threshold` and above; the filters hold for the distance."""
    rows: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    for one in candidates:
        distance = round(abs(_reward(one) - threshold), 6)
        # On the threshold itself is desirable, not a tie.
        objection = filters.objection(distance or math.ulp(0.0), one.sd)
        if objection is None:
            rows.append(_kto(prompt, one.text, _reward(one) >= threshold, chat=chat))
        else:
            dropped[objection] += 1
    return rows, dropped


def grpo_row(prompt: Text, *, chat: bool) -> dict[str, Any]:
    """The one column of GRPO, RLOO and OnlineDPO."""
    return {"prompt": _prompt(prompt, chat=chat)}


def _kto(prompt: Text, completion: Text, label: bool, *, chat: bool) -> dict[str, Any]:
    return {
        "prompt": _prompt(prompt, chat=chat),
        "completion": _completion(completion, chat=chat),
        "label": label,
    }


def _prompt(text: Text, *, chat: bool) -> Any:
    return _messages(text, "user") if chat else text


def _completion(text: Text, *, chat: bool) -> Any:
    return _messages(text, "assistant") if chat else text


def _messages(text: Text, role: str) -> list[dict[str, str]]:
    """Chat where the input was: trainers want prompt and completion in one and the same form."""
    if isinstance(text, str):
        return [{"role": role, "content": text}]
    return [message.model_dump(mode="json") for message in text]


def _gap(better: Candidate, worse: Candidate) -> float:
    # Six decimals are kept of a reward; what is smaller is no difference.
    return round(_reward(better) - _reward(worse), 6)


def _reward(one: Candidate) -> float:
    if one.reward is None:
        raise ValueError("a completion without a reward; see usable()")
    return one.reward
