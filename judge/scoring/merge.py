"""From the draws of one or more judges to the `scores` of a pair."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple

from judge.scoring.parse import Cause
from reward_model.records import SIDES


class Draw(NamedTuple):
    """One level of one judge, or why there is none."""

    side: str
    """Which text of the row: a side of a pair, or the slot of another row."""
    dimension: str
    judge: str
    returned: str | None
    level: int | None
    reason: str | None
    problem: Cause | None
    expected: float | None = None
    """Expected level by the probabilities of the level tokens."""
    temperature: float | None = None
    """What was really sent to the judge."""


def paired(draws: Sequence[Draw]) -> list[Draw]:
    """Draws of both orders, four a question, without the questions that lack a level in one order:
    what is left of them would lean to the place where a text stood."""
    kept: list[Draw] = []
    for four in _questions(draws):
        lost = next((draw.problem for draw in four if draw.problem), None)
        if lost is None:
            kept += four
        else:
            kept += [d._replace(level=None, reason=None, problem=d.problem or lost) for d in four]
    return kept


def swaps(draws: Sequence[Draw]) -> dict[str, dict[str, int]]:
    """By dimension: questions answered in both orders, and how many preferred another text, or
    none, when the order was turned.

    >>> def draw(side, level): return Draw(side, "depth", "a", None, level, None, None)
    >>> swaps([draw("chosen", 4), draw("rejected", 2), draw("rejected", 3), draw("chosen", 3)])
    {'depth': {'questions': 1, 'inconsistent': 1}}
    """
    found: dict[str, dict[str, int]] = {}
    for four in _questions(draws):
        count = found.setdefault(four[0].dimension, {"questions": 0, "inconsistent": 0})
        if any(draw.level is None for draw in four):
            continue
        # Both orders: what the chosen side is ahead by.
        ahead = [
            sum((d.level or 0) * (1 if d.side == "chosen" else -1) for d in order)
            for order in (four[:2], four[2:])
        ]
        first, second = ((value > 0) - (value < 0) for value in ahead)
        count["questions"] += 1
        count["inconsistent"] += first != second
    return found


def _questions(draws: Sequence[Draw]) -> list[list[Draw]]:
    """The four draws of each question: both texts in one order, then in the other."""
    return [list(draws[at : at + 4]) for at in range(0, len(draws), 4)]


def sent_temperature(draws: Sequence[Draw], asked: float) -> float | dict[str, float | None] | None:
    """The temperature that was really sent; by judge where judges differ.

    >>> takes_none = Draw("chosen", "depth", "o", "o-1", 3, None, None, temperature=None)
    >>> sent_temperature([takes_none], 0.0) is None
    True
    """
    sent = {draw.judge: draw.temperature for draw in draws if draw.returned is not None}
    values = set(sent.values())
    if not values:
        return asked
    return values.pop() if len(values) == 1 else sent


def joint_level(draws: Sequence[tuple[str, int]]) -> int | None:
    """Level of several draws of one or more judges: mean over judges of the mean over a judge's
    draws, rounded half up; None without any.

    >>> joint_level([("a", 3), ("a", 4), ("b", 2)])
    3
    """
    if not draws:
        return None
    return math.floor(joint_mean(draws) + 0.5)


def joint_mean(draws: Sequence[tuple[str, float]]) -> float:
    """Mean over judges of the mean over a judge's draws, of which there is one at least.

    >>> joint_mean([("a", 3), ("a", 4), ("b", 2)])
    2.75
    """
    by_judge: dict[str, list[float]] = {}
    for judge, value in draws:
        by_judge.setdefault(judge, []).append(value)
    return fmean(fmean(values) for values in by_judge.values())


def _majority(levels: Sequence[int]) -> int | None:
    """The level that more draws gave than any other; None where two share the first place."""
    (first, most), *others = Counter(levels).most_common(2)
    return None if others and others[0][1] == most else first


def merge(
    draws: Sequence[Draw], dimensions: Sequence[str], sides: Sequence[str] = SIDES
) -> dict[str, Any]:
    """`scores` of a row: levels, reasons, and under `judge` mean, majority, spread, all draws and
    failures.

    A level is the mean over judges of the mean over a judge's draws, rounded half up. Draws
    without a level do not count; without any the level is None.

    >>> draws = [Draw("chosen", "depth", "a", None, level, None, None) for level in (3, 4, 4)]
    >>> merge(draws, ["depth"])["chosen"], merge(draws, ["depth"])["judge"]["spread"]
    ({'depth': 4}, {'chosen': {'depth': 0.471}})
    """
    levels: dict[str, dict[str, int | None]] = {side: {} for side in sides}
    reasons: dict[str, dict[str, str]] = {side: {} for side in sides}
    spread: dict[str, dict[str, float]] = {}
    mean: dict[str, dict[str, float]] = {}
    majority: dict[str, dict[str, int | None]] = {}
    expected: dict[str, dict[str, float]] = {}
    failures: dict[str, dict[str, dict[str, int]]] = {}
    judges = list(dict.fromkeys(draw.judge for draw in draws))
    kept: dict[str, dict[str, dict[str, list[int | None]]]] = {}
    for side in sides:
        for name in dimensions:
            own = [d for d in draws if d.side == side and d.dimension == name]
            if not own:
                continue
            given = [d for d in own if d.level is not None]
            pairs = [(d.judge, d.level or 0) for d in given]
            level = joint_level(pairs)
            levels[side][name] = level
            nearest = min(
                (d for d in given if d.reason),
                key=lambda d: abs((d.level or 0) - (level or 0)),
                default=None,
            )
            if nearest is not None and nearest.reason:
                reasons[side][name] = nearest.reason
            mean_expected = _mean_expected(given)
            if mean_expected is not None:
                expected.setdefault(side, {})[name] = mean_expected
            if len(own) > 1:
                if given:
                    values = [d.level or 0 for d in given]
                    spread.setdefault(side, {})[name] = round(pstdev(values), 3)
                    mean.setdefault(side, {})[name] = round(joint_mean(pairs), 4)
                    majority.setdefault(side, {})[name] = _majority(values)
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
    extra = {
        "returned": returned,
        "spread": spread,
        "mean": mean,
        "majority": majority,
        "expected": expected,
        "levels": kept,
        "failures": failures,
    }
    scores["judge"] = {key: value for key, value in extra.items() if value}
    return scores


def apart(
    scores: dict[str, Any], sides: Sequence[str], form: Literal["single", "list", "named"]
) -> dict[str, Any]:
    """`scores` and `judge` of a row that is no pair: what stands by side is the response's own, a
    list in the order of the completions, or goes by the name of their columns.

    >>> judge = {"model": "m", "spread": {"1": {}}}
    >>> apart({"0": {"depth": 4}, "1": {"depth": 1}, "judge": judge}, ["0", "1"], "list")
    {'scores': [{'depth': 4}, {'depth': 1}], 'judge': {'model': 'm', 'spread': [{}, {}]}}
    """

    def told(by_side: dict[str, Any]) -> Any:
        each = {side: by_side.get(side, {}) for side in sides}
        if form == "named":
            return each
        return each[sides[0]] if form == "single" else list(each.values())

    judge = dict(scores["judge"])
    if "reasoning" in scores:
        judge["reasons"] = told(scores["reasoning"])
    for name in _BY_SIDE & judge.keys():
        judge[name] = told(judge[name])
    if "levels" in judge:
        judge["levels"] = {name: told(kept) for name, kept in judge["levels"].items()}
    return {"scores": told(scores), "judge": judge}


_BY_SIDE = {"spread", "mean", "majority", "expected", "failures"}


def _mean_expected(given: Sequence[Draw]) -> float | None:
    """Mean like that of the levels; None unless every draw with a level has one."""
    values = [(d.judge, d.expected) for d in given if d.expected is not None]
    return round(joint_mean(values), 4) if values and len(values) == len(given) else None
