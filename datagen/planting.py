"""Several errors planted by code into one report, each at a known place.

`reward_model.checks.plant` plants one; this repeats it and keeps the places of the earlier ones.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from reward_model.checks import ERROR_KINDS, Planted, plant, read_facts, verify


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
    sound = sum(v.status == "verified" for v in verify(facts, report))
    wanted = max(1, round(sound * share))
    rng = random.Random(seed)
    done: list[Planted] = []
    kinds: list[str] = []
    misses = 0
    while len(done) < wanted and misses < len(ERROR_KINDS):
        if not kinds:
            kinds = list(ERROR_KINDS)
            rng.shuffle(kinds)
        # One error among sound figures is made certain; among many, certainty costs too much.
        found = plant(facts, report, kinds.pop(), rng, certain=wanted == 1)
        if found is None or _touches(found[1], done):
            misses += 1
            continue
        misses = 0
        report, error = found
        done = [_moved(earlier, error) for earlier in done] + [error]
    done.sort(key=lambda error: error.where)
    return report, [error.as_dict() for error in done]


def _touches(new: Planted, done: list[Planted]) -> bool:
    """Whether a replacement would change an earlier one (places before the replacement)."""
    start, end = new.where[0], new.where[0] + len(new.was)
    return any(start < e.where[1] and e.where[0] < end for e in done)


def _moved(earlier: Planted, new: Planted) -> Planted:
    """An earlier error after a replacement in front of it."""
    if earlier.where[0] < new.where[0]:
        return earlier
    shift = len(new.now) - len(new.was)
    return replace(earlier, where=(earlier.where[0] + shift, earlier.where[1] + shift))
