"""Several errors planted by code into one report, each at a known place.

`reward_model.checks.plant` plants one; this gathers several that do not touch, and their places.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from reward_model.checks import ERROR_KINDS, Planted, plant, read_facts
from reward_model.checks.plant import verdicts_on


def plant_share(
    prompt: str, report: str, share: float, seed: str
) -> tuple[str, list[dict[str, Any]]]:
    """Plant errors on a share of the figures that verify; one where the share is 0.

    Returns:
        The report with its errors, and where they are: `report[start:end] == now`. Fewer errors
        than asked for, or none, where the report has too few figures that can be checked.

    >>> prompt = "单位：万元\\n| 项目 | 2021年 |\\n|---|---|\\n| 营业收入 | 1,200 |"
    >>> text, [error] = plant_share(prompt, "2021年营业收入为1,200万元。", 0, "1")
    >>> start, end = error["where"]
    >>> text[start:end] == error["now"] != error["was"]
    True
    """
    facts = read_facts(prompt)
    sound = sum(v.status == "verified" for v in verdicts_on(facts, report))
    wanted = max(1, round(sound * share))
    rng = random.Random(seed)
    # All are made for the report as it was, so that it is read only once, and put in together.
    found: list[Planted] = []
    kinds: list[str] = []
    misses = 0
    while len(found) < wanted and misses < 2 * len(ERROR_KINDS):
        if not kinds:
            kinds = list(ERROR_KINDS)
            rng.shuffle(kinds)
        # One error among sound figures is made certain; among many, certainty costs too much.
        planted = plant(facts, report, kinds.pop(), rng, certain=wanted == 1)
        if planted is None or any(_touch(planted[1], other) for other in found):
            misses += 1
            continue
        misses = 0
        found.append(planted[1])
    return _put_in(report, sorted(found, key=lambda error: error.where))


def _touch(one: Planted, other: Planted) -> bool:
    """Whether two errors replace the same text."""
    start, end = one.where[0], one.where[0] + len(one.was)
    return start < other.where[0] + len(other.was) and other.where[0] < end


def _put_in(report: str, errors: list[Planted]) -> tuple[str, list[dict[str, Any]]]:
    parts, records = [], []
    at = shift = 0
    for error in errors:
        start = error.where[0]
        parts += [report[at:start], error.now]
        at = start + len(error.was)
        where = (start + shift, start + shift + len(error.now))
        shift += len(error.now) - len(error.was)
        records.append(replace(error, where=where).as_dict())
    return "".join(parts) + report[at:], records
