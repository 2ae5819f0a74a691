"""Numeric errors planted into a report at a known place: kind, size and offsets recorded."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from functools import lru_cache

from reward_model.checks.claims import Claim
from reward_model.checks.errors import MAKERS, Edit
from reward_model.checks.facts import Facts, read_facts
from reward_model.checks.verify import Verdict, verify

ERROR_KINDS: tuple[str, ...] = (
    "transposition",
    "swap",
    "sign",
    "unit",
    "period",
    "percent_point",
    "denominator",
    "total",
    "magnitude",
)
"""Digits exchanged; two values exchanged; sign or direction turned; 万 for 亿; another period's
value; % for percentage points; a ratio on a wrong denominator; a total that does not add up;
ten times too much or too little."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted error, as it is recorded beside the text."""

    where: tuple[int, int]
    """Offsets of the new text in the new report: `report[start:end] == now`."""
    was: str
    """What stood there."""
    now: str
    """What stands there now."""
    error: str
    """One of `ERROR_KINDS`."""

    def as_dict(self) -> dict[str, object]:
        """The record for JSON.

        >>> Planted((3, 8), "14.7%", "41.7%", "transposition").as_dict()
        {'where': [3, 8], 'was': '14.7%', 'now': '41.7%', 'error': 'transposition'}
        """
        return {**asdict(self), "where": list(self.where)}


def plant(
    facts: Facts | str, report: str, kind: str, rng: random.Random, *, certain: bool = True
) -> tuple[str, Planted] | None:
    """Plant one error of `kind` on a claim that verifies; None where the text offers none.

    With `certain` the new number is wrong under every reading the tables allow, and no other
    claim's verdict changes. Without it any verified claim may be hit and nothing is checked
    but the record itself.

    >>> table = "| 项目 | 2021年 | 2020年 |\\n|---|---|---|\\n| 营业收入 | 1,200 | 1,000 |"
    >>> report, rng = "2021年营业收入同比增长20.0%。", random.Random(0)
    >>> text, error = plant("单位：万元\\n" + table, report, "percent_point", rng)
    >>> text, error.was, error.now
    ('2021年营业收入同比增长20.0个百分点。', '20.0%', '20.0个百分点')
    """
    if kind not in MAKERS:
        raise ValueError(f"error kind {kind!r} is unknown; the kinds are {', '.join(ERROR_KINDS)}")
    if isinstance(facts, str):
        facts = read_facts(facts)
    verdicts = list(verdicts_on(facts, report))
    open_to = [
        v for v in verdicts if _plantable(report, v.claim, certain) and v.status == "verified"
    ]
    rng.shuffle(open_to)
    tries = 0
    for verdict in open_to:
        for edit in MAKERS[kind](facts, report, verdict.claim, open_to, rng):
            old = report[edit.start : edit.end]
            if old == edit.now:
                continue
            text = report[: edit.start] + edit.now + report[edit.end :]
            record = Planted((edit.start, edit.start + len(edit.now)), old, edit.now, kind)
            if not certain:
                return text, record
            tries += 1
            if _only_these(facts, text, edit, verdicts):
                return text, record
            if tries >= 24:
                return None
    return None


@lru_cache(maxsize=16)
def verdicts_on(facts: Facts, report: str) -> tuple[Verdict, ...]:
    """`verify`, remembered: several errors are planted into one report."""
    return tuple(verify(facts, report))


def _plantable(report: str, claim: Claim, certain: bool) -> bool:
    if (
        claim.hedge
        or claim.scope in {"benchmark", "budget"}
        or "\n" in claim.text
        or "<" in claim.text
    ):
        return False
    return claim.firm or not certain


def _only_these(facts: Facts, text: str, edit: Edit, before: list[Verdict]) -> bool:
    """Whether the targets are wrong now and every other claim is judged as it was."""
    shift = len(edit.now) - (edit.end - edit.start)

    def moved(place: int) -> int:
        return place + shift if place >= edit.end else place

    after = {v.claim.start: v for v in verify(facts, text)}
    inside = [
        v for v in after.values() if edit.start - 1 <= v.claim.start < edit.start + len(edit.now)
    ]
    for v in before:
        start = v.claim.start
        if start in edit.targets:
            now = after.get(start) or after.get(moved(start)) or next(iter(inside), None)
            if len(edit.targets) == 1 and (now is None or now.status != "wrong"):
                return False
        else:
            now = after.get(moved(start))
            if now is None or now.status != v.status:
                return False
    return len(edit.targets) == 1 or all(v.status == "wrong" for v in inside[:1] + inside[-1:])
