"""From the draws of one or more judges to the `scores` of a pair."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, NamedTuple

from judge.parse import Cause
from reward_model.records import SIDES, Side


class Draw(NamedTuple):
    """One level of one judge, or why there is none."""

    side: Side
    dimension: str
    judge: str
    returned: str | None
    level: int | None
    reason: str | None
    problem: Cause | None


def merge(draws: Sequence[Draw], dimensions: Sequence[str]) -> dict[str, Any]:
    """`scores` of a pair: levels, reasons, and under `judge` spread, all draws and failures.

    A level is the mean over judges of the mean over a judge's draws, rounded half up. Draws
    without a level do not count; without any the level is None.

    >>> draws = [Draw("chosen", "depth", "a", None, level, None, None) for level in (3, 4, 4)]
    >>> merge(draws, ["depth"])["chosen"], merge(draws, ["depth"])["judge"]["spread"]
    ({'depth': 4}, {'chosen': {'depth': 0.471}})
    """
    levels: dict[str, dict[str, int | None]] = {side: {} for side in SIDES}
    reasons: dict[str, dict[str, str]] = {side: {} for side in SIDES}
    spread: dict[str, dict[str, float]] = {}
    failures: dict[str, dict[str, dict[str, int]]] = {}
    judges = list(dict.fromkeys(draw.judge for draw in draws))
    kept: dict[str, dict[str, dict[str, list[int | None]]]] = {}
    for side in SIDES:
        for name in dimensions:
            own = [d for d in draws if d.side == side and d.dimension == name]
            if not own:
                continue
            given = [d for d in own if d.level is not None]
            level = _level(given)
            levels[side][name] = level
            nearest = min(
                (d for d in given if d.reason),
                key=lambda d: abs((d.level or 0) - (level or 0)),
                default=None,
            )
            if nearest is not None and nearest.reason:
                reasons[side][name] = nearest.reason
            if len(own) > 1:
                if given:
                    values = [d.level or 0 for d in given]
                    spread.setdefault(side, {})[name] = round(pstdev(values), 3)
                for judge in judges:
                    kept.setdefault(judge, {}).setdefault(side, {})[name] = [
                        d.level for d in own if d.judge == judge
                    ]
            causes = Counter(d.problem for d in own if d.problem)
            if causes:
                failures.setdefault(side, {})[name] = dict(sorted(causes.items()))
    scores: dict[str, Any] = dict(levels)
    if any(reasons.values()):
        scores["reasoning"] = reasons
    returned = sorted({d.returned for d in draws if d.returned} - set(judges))
    extra = {"returned": returned, "spread": spread, "levels": kept, "failures": failures}
    scores["judge"] = {key: value for key, value in extra.items() if value}
    return scores


def _level(given: Sequence[Draw]) -> int | None:
    if not given:
        return None
    by_judge: dict[str, list[int]] = {}
    for draw in given:
        by_judge.setdefault(draw.judge, []).append(draw.level or 0)
    return math.floor(fmean(fmean(values) for values in by_judge.values()) + 0.5)
