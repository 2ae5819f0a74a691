"""Which arm is better? The unit is the user, and there is no verdict before its time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reward_model.records.errors import UserError, some_of
from reward_model.traffic.metrics import as_json, measure
from reward_model.traffic.rows import Log, carried, read_log
from reward_model.traffic.settings import Experiment, Guardrail, Outcome
from reward_model.traffic.units import Difference, Measure, difference
from reward_model.traffic.words import notes as told

SCHEMA = "traffic.ab/1"
ALPHA = 0.05
SPLIT = 0.001
"""Below this p the users are not divided as planned, and nothing else can be believed."""
EARLY = 0.001
"""A guardrail is looked at every day: before the end harm is only told below this p."""


def ab(paths: Sequence[Path], experiment: Experiment, workers: int = 0) -> dict[str, Any]:
    """Compare every treatment with the control.

    Returns:
        Plain data, the schema `traffic.ab/1`; `verdict` by treatment.

    Raises:
        UserError: a log cannot be read, or an arm has no rows.
    """
    columns = list(dict.fromkeys(outcome.column for outcome in experiment.outcomes))
    log = read_log(paths, columns, list(experiment.arms), workers)
    if not carried(log):
        names = some_of([outcome.title for outcome in experiment.outcomes], 6)
        raise UserError(
            f"none of the outcomes ({names}) in any of {len(log):,} rows",
            expected="a log that carries them",
            path=paths[0],
        )
    return {"logs": [str(path) for path in paths], **compare(log, experiment)}


def compare(log: Log, experiment: Experiment) -> dict[str, Any]:
    """`ab` of a log that is read, with the outcomes' columns and the experiment's arms.

    Raises:
        UserError: an arm has no rows.
    """
    arms = list(experiment.arms)
    inside, notes = _inside(log, experiment)
    arm = _arm_of_users(log, inside)
    mixed = arm == -2
    if mixed.any():
        notes["users in several arms, left out"] = int(mixed.sum())
        inside &= ~mixed[log.user]
    users = {name: int((arm == at).sum()) for at, name in enumerate(arms)}
    for name, count in users.items():
        if not count:
            left = f" ({'; '.join(told(notes))})" if notes else ""
            raise UserError(
                f"no user in arm {name!r}{left}", expected="rows with this `arm` in its time"
            )
    split = _split(users, experiment)
    last = float(np.nanmax(log.time)) if not np.isnan(log.time).all() else math.nan
    done = last >= experiment.until.timestamp()
    span = _seconds(log, inside)
    rows = {name: inside & (log.arm == at) for at, name in enumerate(arms)}
    measured = {
        outcome.title: {name: measure(log, outcome, rows[name].copy(), span) for name in arms}
        for outcome in experiment.outcomes
    }
    treatments = arms[1:]
    primary = _family([experiment.primary], measured, arms[0], treatments)
    secondary = _family(experiment.secondary, measured, arms[0], treatments)
    guardrails = [
        _guarded(rail, name, measured[rail.title], arms[0], done)
        for rail in experiment.guardrail
        for name in treatments
    ]
    return {
        "schema": SCHEMA,
        "experiment": experiment.name,
        "until": experiment.until.isoformat().replace("+00:00", "Z"),
        "done": done,
        "control": arms[0],
        "users": users,
        "split": split,
        "verdict": {name: _verdict(name, split, done, primary, guardrails) for name in treatments},
        "primary": primary,
        "secondary": secondary,
        "guardrails": guardrails,
        "notes": {**log.notes, **notes},
        "first_unreadable": log.first_bad or None,
    }


def plan(paths: Sequence[Path], experiment: Experiment, workers: int = 0) -> dict[str, Any]:
    """Users needed to see a change of `detect` in the primary outcome, from a log before the test.

    Two-sided at 5%, with the experiment's power: (z + z')^2 (s_c^2 / share_c + s_t^2 / share_t) /
    change^2 users in all, where s^2 is the variance that one user brings.

    Raises:
        UserError: no `detect`, or the log does not carry the primary outcome.
    """
    from scipy.stats import norm

    if experiment.detect is None:
        raise UserError(
            "--plan without `detect`", expected='detect = 0.02 or "5%" in the experiment'
        )
    outcome = experiment.primary
    log = read_log(paths, [outcome.column], workers=workers)
    span = _seconds(log, np.ones(len(log), bool))
    found = measure(log, outcome, None, span)
    if found is None or found.users < 2 or not found.se:
        raise UserError(
            f"a log in which {outcome.title} does not vary over users",
            expected="rows of two users at least that carry it",
            path=paths[0],
        )
    change = experiment.detect.of(found.value)
    if not change:
        raise UserError("a change of 0 to detect", expected="a number above 0")
    one = found.users * found.se**2
    target = found.value + (change if outcome.better == "higher" else -change)
    other = one
    if outcome.how == "share" and 0 < target < 1:
        other = one * target * (1 - target) / (found.value * (1 - found.value))
    z = float(norm.ppf(1 - ALPHA / 2) + norm.ppf(experiment.power))
    control, *treatments = experiment.arms
    smallest = min(treatments, key=lambda name: experiment.arms[name])
    spread = one / experiment.arms[control] + other / experiment.arms[smallest]
    total = z**2 * spread / change**2
    days = span / 86400
    return {
        "schema": "traffic.plan/1",
        "experiment": experiment.name,
        "outcome": outcome.title,
        "is": outcome.how,
        "now": as_json(found),
        "detect": change,
        "power": experiment.power,
        "users": {name: math.ceil(total * share) for name, share in experiment.arms.items()},
        "users_together": math.ceil(total),
        "log_days": round(days, 2) if days > 0 else None,
        "log_users": found.users,
        "notes": log.notes,
    }


def _inside(log: Log, experiment: Experiment) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    """Rows of the experiment's arms and time, and what was left out."""
    known = log.arm >= 0
    with np.errstate(invalid="ignore"):
        there = log.time < experiment.until.timestamp()
        if experiment.start is not None:
            there &= log.time >= experiment.start.timestamp()
    notes = {
        "rows of no arm of the experiment": int((~known).sum()),
        "rows outside the experiment's time": int((known & ~there).sum()),
    }
    return known & there, {words: count for words, count in notes.items() if count}


def _arm_of_users(log: Log, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """[users] place of each one's arm; -1 for none, -2 for several."""
    users = int(log.user.max()) + 1
    arm = log.arm[inside].astype(np.int64)
    low, high = np.full(users, np.iinfo(np.int64).max), np.full(users, -1)
    np.minimum.at(low, log.user[inside], arm)
    np.maximum.at(high, log.user[inside], arm)
    return np.where(high < 0, -1, np.where(low == high, high, -2))


def _split(users: dict[str, int], experiment: Experiment) -> dict[str, Any]:
    from scipy.stats import chisquare

    total = sum(users.values())
    wanted = [share * total for share in experiment.arms.values()]
    p = float(chisquare(list(users.values()), wanted).pvalue)
    return {"p": p, "broken": p < SPLIT, "expected": dict(zip(users, wanted, strict=True))}


def _seconds(log: Log, rows: npt.NDArray[np.bool_]) -> float:
    known = log.time[rows & ~np.isnan(log.time)]
    return float(known.max() - known.min()) if len(known) else 0.0


def _family(
    outcomes: Sequence[Outcome],
    measured: dict[str, dict[str, Measure | None]],
    control: str,
    treatments: Sequence[str],
) -> list[dict[str, Any]]:
    """Outcomes that share their 5%: Holm's step-down over all of them and all treatments."""
    out: list[dict[str, Any]] = []
    tested: list[tuple[Difference, dict[str, Any], Outcome]] = []
    for outcome in outcomes:
        for name in treatments:
            one, base = measured[outcome.title][name], measured[outcome.title][control]
            apart = difference(one, base) if one and base else None
            row: dict[str, Any] = {
                "outcome": outcome.title,
                "is": outcome.how,
                "better": outcome.better,
                "arm": name,
                "control": as_json(base),
                "treatment": as_json(one),
                "difference": _apart(apart, base),
                "p_holm": None,
                "verdict": "no numbers",
            }
            out.append(row)
            if apart is not None:
                tested.append((apart, row, outcome))
    for (apart, row, outcome), p in zip(
        tested, holm([apart.p for apart, _, _ in tested]), strict=True
    ):
        row["p_holm"] = p
        good = (apart.value > 0) == (outcome.better == "higher")
        row["verdict"] = "no difference seen" if p >= ALPHA else "better" if good else "worse"
    return out


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979).

    >>> [round(one, 3) for one in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    out, highest = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[at]))
        out[at] = highest
    return out


def _guarded(
    rail: Guardrail, name: str, found: dict[str, Measure | None], control: str, done: bool
) -> dict[str, Any]:
    """Harm is a change the wrong way, and at most the margin of it is borne."""
    one, base = found[name], found[control]
    apart = difference(one, base) if one and base else None
    row: dict[str, Any] = {
        "outcome": rail.title,
        "is": rail.how,
        "arm": name,
        "margin": str(rail.margin),
        "control": as_json(base),
        "treatment": as_json(one),
        "difference": _apart(apart, base),
        "verdict": "no numbers",
    }
    if apart is None or base is None:
        return row
    sign = 1 if rail.better == "lower" else -1
    borne = rail.margin.of(base.value)
    level = 1 - (ALPHA if done else EARLY)
    low, high = sorted(sign * limit for limit in apart.one_sided(level))
    row["verdict"] = "harmed" if low > borne else "safe" if high < borne else "unclear"
    return row


def _verdict(
    name: str,
    split: dict[str, Any],
    done: bool,
    primary: list[dict[str, Any]],
    guardrails: list[dict[str, Any]],
) -> str:
    if split["broken"]:
        return "split broken"
    if any(row["arm"] == name and row["verdict"] == "harmed" for row in guardrails):
        return "guardrail harmed"
    if not done:
        return "too early"
    return next(str(row["verdict"]) for row in primary if row["arm"] == name)


def _apart(found: Difference | None, base: Measure | None) -> dict[str, Any] | None:
    if found is None or base is None:
        return None
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "relative": found.value / abs(base.value) if base.value else None,
    }
