"""Claims of a sentence that was understood whole: every word of it has its place in a clause."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from reward_model.checks import lexicon as lx
from reward_model.checks.claims import Claim
from reward_model.checks.dates import Dated
from reward_model.checks.items import items
from reward_model.checks.kinds import (
    OF_THE_SHARE,
    STOOD_BEFORE,
    Basis,
    ClaimKind,
    Combine,
    Direction,
    Source,
)
from reward_model.checks.numbers import Number
from reward_model.checks.periods import Period
from reward_model.checks.scene import Scene, is_counted, is_operand
from reward_model.checks.shapes import Clause, Token, clauses, tokenize
from reward_model.checks.subject import Found, State
from reward_model.checks.wording import hedge_before, signed

_MARK = re.compile(
    r"\s*(?:#{1,6}\s|>\s|[-*•·]\s|\d{1,2}[.、)]\s|[(（][一二三四五六七八九十\d]{1,2}[)）]|"
    r"[一二三四五六七八九十]{1,2}[、.]\s?)+\s*"
)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_UNITS = {
    "money": {"money", "plain"},
    "percent": {"percent", "plain"},
    "times": {"times", "plain"},
    "days": {"days", "plain"},
    "per_share": {"money", "plain"},
}
"""What a level of an item may be written in."""


@dataclass(slots=True)
class _Said:
    """What the clauses so far hand on to the next."""

    item: str | None = None
    entity: str | None = None
    label: str = ""
    period: Period | None = None
    source: Source = ""
    basis: Basis = ""
    shared: bool = False
    """Whether the clause before gave a share: points after it are points of the share."""
    moved: Direction = None
    """The direction of the clause before, where it said a change and nothing else."""
    mixed: bool = False
    """Whether the clause before said a level and a change."""
    dates: set[Period] = field(default_factory=set)
    """Periods the sentence names as its own, bases of comparison apart."""


def understood(
    scene: Scene,
    text: str,
    start: int,
    end: int,
    labels: Found,
    dated: Dated,
    numbers: list[Number],
    state: State,
) -> list[Claim] | None:
    """The claims of `text[start:end]`, or None where the sentence is not understood whole."""
    if any(is_operand(text, n) or is_counted(text, n) for n in numbers):
        return None
    language = "zh" if _CHINESE.search(text, start, end) else "en"
    mark = _MARK.match(text, start, end)
    begin = mark.end() if mark else start
    stop = start + len(text[start:end].rstrip(" .。!！?\t\r*"))
    fixed = _fixed(scene, text, begin, stop, labels, dated, numbers)
    if _hypothetical(text, begin, stop, labels):
        return None
    tokens = tokenize(text, begin, stop, language, fixed)
    found = clauses([t for t in tokens if t.value != ""], language) if tokens else None
    if found is None:
        return None
    said = _Said(period=state.period or scene.period, source=state.source)
    claims: list[Claim] = []
    for clause in found:
        made = _claims(scene, text, clause, language, said)
        if made is None:
            return None
        claims += made
    if said.dates:
        # "Revenue was 120 and net income 12 in 2019": the date may speak for both.
        claims = [
            c
            if c.source in {"clause", "sentence"} or {c.period} == said.dates
            else replace(
                c,
                period=next(iter(said.dates)) if len(said.dates) == 1 else c.period,
                doubt=c.doubt or "the period is named later",
            )
            for c in claims
        ]
    state.item, state.label, state.entity, state.here = said.item, said.label, said.entity, True
    state.item_doubt = ""
    if said.dates:
        state.period, state.source = said.period, "sentence"
    return claims


def _hypothetical(text: str, begin: int, stop: int, labels: Found) -> bool:
    """Whether a word outside the names makes it a plan or a condition."""
    piece = text[begin:stop]
    for a, b, _ in labels:
        if begin <= a and b <= stop:
            piece = piece[: a - begin] + " " * (b - a) + piece[b - begin :]
    return lx.HYPOTHETICAL.search(piece) is not None


def _fixed(
    scene: Scene,
    text: str,
    begin: int,
    stop: int,
    labels: Found,
    dated: Dated,
    numbers: list[Number],
) -> list[tuple[int, int, Period | Number | str]]:
    """Names, dates, numbers and (as an empty string) the company's own name, in order."""
    rows: list[tuple[int, int, Period | Number | str]] = [(a, b, key) for a, b, key in labels]
    others: list[tuple[int, int, Period | Number | str]] = [*dated]
    others += [(n.start, n.end, n) for n in numbers]
    for name in scene.names:
        at = text.find(name, begin, stop)
        while at >= 0:
            others.append((at, at + len(name), ""))
            at = text.find(name, at + len(name), stop)
    taken = sorted(rows)
    for a, b, value in others:
        if begin <= a and b <= stop and not any(x < b and a < y for x, y, _ in taken):
            taken.append((a, b, value))
    return sorted((r for r in taken if begin <= r[0] and r[1] <= stop), key=lambda r: r[0])


def _claims(
    scene: Scene, text: str, clause: Clause, language: str, said: _Said
) -> list[Claim] | None:
    """What one clause says; None where units or names do not go together."""
    roles = clause.roles
    if "L" in roles:
        key, token = str(roles["L"].value), roles["L"]
        entity = key.startswith("@")
        said.item, said.entity = (None, key[1:]) if entity else (key, None)
        said.label = key[1:] if entity else text[token.start : token.end]
        said.basis = ""
    if said.item is None and said.entity is None:
        return None
    source = said.source
    if "P" in roles:
        said.period, source = _period(roles["P"]), "clause"
        said.source = "sentence"
        said.dates.add(said.period)
    base = _period(roles["Q"]) if "Q" in roles else None
    basis: Basis = "base" if base else ""
    for name, word in (("yoy", "yoy"), ("qoq", "mom"), ("opening", "opening")):
        if clause.has(language, name):
            basis = word  # type: ignore[assignment]
    direction: Direction = None
    if "V" in roles:
        direction = "up" if roles["V"].symbol == "u" else "down"
    per = str(roles["M"].value) if "M" in roles else None
    on = clause.family == "more" and set(roles) <= {"N", "P"} and "P" in roles
    if on and said.moved and "N" in roles:
        # "fell 40 in 2023 and 20 in 2022": the second number is a change as well.
        roles, direction = {**roles, "C": roles["N"]}, said.moved
        del roles["N"]
    made: list[Claim] = []
    for role in "NOCS":
        if role not in roles:
            continue
        # "The change in revenue was 20": it may have been up or down.
        neutral = clause.has(language, "change")
        claim = _one(scene, text, roles[role], role, said, direction, per, neutral=neutral)
        if claim is None:
            return None
        guessed = base is not None and base == said.period and source != "clause"
        claim = replace(claim, period=None if guessed else said.period, source=source)
        if claim.kind.startswith("change"):
            claim = replace(claim, basis=basis or said.basis, base=base)
            if base is not None and claim.period is not None and claim.period <= base:
                claim = replace(claim, doubt=claim.doubt or "the period does not follow its base")
        elif role == "O" or clause.has(language, "last"):
            claim = _before(claim, base, basis)
        if clause.family in {"average", "sum"}:
            other = str(roles["K"].value) if "K" in roles else None
            combine: Combine = "average" if clause.family == "average" else "sum"
            claim = replace(claim, combine=combine, base=base, with_label=other)
        if on and said.mixed:
            claim = replace(claim, doubt=claim.doubt or "a level or a change")
        if said.shared and claim.kind == "change_pp":
            claim = replace(claim, doubt=claim.doubt or OF_THE_SHARE)
        made.append(claim)
    said.shared = "S" in roles or (said.shared and "L" not in roles)
    levels = bool({"N", "O"} & set(roles))
    said.moved = direction if "C" in roles and not levels else None
    said.mixed = "C" in roles and levels
    said.basis = basis if basis in {"yoy", "mom", "opening"} else said.basis
    return sorted(made, key=lambda c: c.start)


def _period(token: Token) -> Period:
    assert isinstance(token.value, Period)
    return token.value


def _before(claim: Claim, base: Period | None, basis: Basis) -> Claim:
    """The level of the period compared with."""
    if base is not None:
        return replace(claim, period=base, source="clause")
    if claim.period is None:
        return replace(claim, doubt=claim.doubt or STOOD_BEFORE)
    period = claim.period.previous() if basis == "mom" else claim.period.year_ago()
    return replace(claim, period=period, source="clause" if basis else "sentence")


def _one(
    scene: Scene,
    text: str,
    token: Token,
    role: str,
    said: _Said,
    direction: Direction,
    per: str | None,
    *,
    neutral: bool,
) -> Claim | None:
    number = token.value
    assert isinstance(number, Number)
    known = items()[said.item] if said.item else None
    doubt = ""
    level: ClaimKind = "ratio" if known is not None and known.kind == "ratio" else "value"
    if role == "S":
        kind: ClaimKind = "ratio"
    elif role == "C":
        if number.unit in {"times", "days"} and (known is None or known.unit != number.unit):
            return None
        kind = {"percent": "change_pct", "pp": "change_pp"}.get(number.unit, "change_abs")  # type: ignore[assignment]
        if direction is None and not number.sign and not neutral:
            doubt = "a change without a direction"
    else:
        kind = level
        if known is not None and number.unit not in _UNITS[known.unit]:
            return None
    return Claim(
        start=number.start,
        end=number.end,
        text=scene.report[number.start : number.end],
        value=signed(number, kind, direction, known, said.label),
        decimals=number.decimals,
        step=number.step,
        unit=number.unit,
        item=said.item,
        label=said.label,
        period=None,
        kind=kind,
        direction=direction if kind.startswith("change") else None,
        per=per if role == "S" else None,
        entity=said.entity,
        hedge=hedge_before(text, number),
        doubt=doubt,
        sign=number.sign,
    )


_CUT = re.compile(r"[，；;。]|,(?!\d{3})")
_ASIDE = re.compile(r"[\s()（）、“”\"'‘’=/·*:：\-—~+]+")


def stands_alone(
    scene: Scene,
    text: str,
    number: Number,
    start: int,
    end: int,
    labels: Found,
    dated: Dated,
    numbers: list[Number],
) -> bool:
    """Whether the Chinese clause around a number has no other number and no word but known ones.

    Such a clause can be read by its words alone, whatever their order; one with several numbers
    or dates needs a shape.
    """
    if not _CHINESE.search(text, start, end):
        return False
    left = max((m.end() for m in _CUT.finditer(text, start, number.start)), default=start)
    lead = text.rfind(":", left, number.start)
    if any(lead < a and b <= number.start for a, b, _ in labels) and lead > 0:
        left = lead + 1  # "毛利率分析：毛利率为35%": what stands before the colon is a title
    cut = _CUT.search(text, number.end, end)
    right = cut.start() if cut else end
    inside = [(a, b) for a, b, _ in (*labels, *dated) if left <= a and b <= right]
    shown = [n for n in numbers if left <= n.start and n.end <= right]
    periods = [p for a, b, p in dated if left <= a and b <= right]
    if len(shown) > 1 or len(set(periods)) > 1:
        return False
    rest = list(text[left:right])
    for a, b in (*inside, *((n.start, n.end) for n in shown)):
        rest[a - left : b - left] = " " * (b - a)
    # Who and when may stand further ahead: 子公司发展良好，净利润… ; 第四季度收入…，同比…
    ahead = list(text[start:right])
    for a, b in ((a, b) for a, b, _ in (*labels, *dated) if start <= a and b <= right):
        ahead[a - start : b - start] = " " * (b - a)
    said = "".join(ahead)
    if lx.SOMEBODY.search(said) or lx.PART_YEAR.search(said):
        return False
    return not lx.leftover(scene.without_names("".join(rest)))
