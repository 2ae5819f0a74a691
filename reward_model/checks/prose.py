"""Claims in running text: each number is read together with the words between it and its label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from reward_model.checks import lexicon as lx
from reward_model.checks.claims import Claim
from reward_model.checks.dates import (
    Dated,
    period_after,
    period_before,
    periods_in,
    stood_before,
    without_periods,
)
from reward_model.checks.items import items
from reward_model.checks.kinds import (
    NOT_A_FACT,
    NOT_WHOLE,
    OF_THE_SHARE,
    STOOD_BEFORE,
    Basis,
    ClaimKind,
    Direction,
)
from reward_model.checks.numbers import Number, find_numbers
from reward_model.checks.outline import GENERIC, Outline
from reward_model.checks.periods import Period
from reward_model.checks.scene import Scene, is_counted, is_operand
from reward_model.checks.subject import Found, State, Subject, find_subject
from reward_model.checks.understood import stands_alone, understood
from reward_model.checks.wording import (
    attain_doubt,
    basis_of,
    hedge_before,
    kind_of,
    past,
    scope_in,
    signed,
)

_SENTENCE = re.compile(r"[。！？!?；;\n]|(?<=[a-z0-9)%])\.\s+(?=[A-Z])")
_LONGEST = 800
"""Characters of a sentence that is read as one."""
_BLANK = re.compile(r"[\s，、]")
_FROM_LEVEL = re.compile(
    r"(?:较|比|于|与|than|from|over)\s*"
    r"(?P<what>上年同期|去年同期|上年末|去年末|上年|去年|年初|期初|上月末|上月|上期)"
    r"(?:相比)?\s*(?:的|末|余额|数|为|[:：（(])*\s*$"
)
_RESPECTIVELY = re.compile(r"分别|respectively", re.I)
_BY_SEGMENT = frozenset(
    {
        "revenue",
        "cost_of_sales",
        "gross_profit",
        "gross_margin",
        "net_profit",
        "net_margin",
        "operating_profit",
    }
)
"""Lines that are also reported for a customer, product or region."""
_LEAD = re.compile(r"^[\s\-*•·>\d.、)(✅]*(?P<lead>[^：:，,。；;|]{2,24})[：:](?!\s*$)")


def _lead(scene: Scene, line: str) -> tuple[str | None, str]:
    """Whom a list line is about (客户甲：...): an entity, or an unknown name as a doubt."""
    match = _LEAD.match(line)
    if not match:
        return None, ""
    lead = match["lead"]
    found = list(scene.labels.find(lead))
    named = next((row for row in found if row[2].startswith("@")), None)
    if named is not None:
        a, b, key = named
        rest = lx.leftover(scene.without_names(lead[:a] + re.sub(r"^\([^()]*\)?", "", lead[b:])))
        return key[1:], f"the line is about {rest[:20]}" if rest else ""
    if found or GENERIC.search(lead):
        return None, ""
    rest = lx.leftover(scene.without_names(without_periods(lead)))
    return None, f"the line is about {rest[:20]}" if rest else ""


def prose_claims(scene: Scene, taken: Iterable[tuple[int, int]]) -> Iterator[Claim]:
    """The claims outside `taken` (the tables), line by line."""
    chars = list(scene.clean)
    for start, end in taken:
        chars[start:end] = ["\n" if c == "\n" else " " for c in chars[start:end]]
    text = "".join(chars)
    outline = Outline(scene)
    offset = 0
    for line in text.split("\n"):
        outline.read(line, scene.flat[offset : offset + len(line)])
        if any(map(str.isdigit, line)):
            entity, about = _lead(scene, line)
            state = State(
                period=outline.period or scene.period,
                source="heading" if outline.period else scene.period_source,
                doubt=outline.doubt or outline.intro_doubt,
                lead_doubt=about or outline.stranger,
                line_entity=entity,
            )
            for claim in line_claims(scene, text, offset, offset + len(line), state):
                scope = claim.scope or outline.intro_scope or outline.scope
                yield replace(claim, scope=scope) if scope != claim.scope else claim
        outline.introduce(line)
        offset += len(line) + 1


def line_claims(scene: Scene, text: str, start: int, end: int, state: State) -> Iterator[Claim]:
    """The claims of `text[start:end]`, one sentence after the other."""
    place = start
    for cut in _SENTENCE.finditer(text, start, end):
        yield from _pieces(scene, text, place, cut.start(), state)
        # A new sentence keeps the subject, but only as a guess.
        state.scope, state.basis, state.here = "", "", False
        place = cut.end()
    yield from _pieces(scene, text, place, end, state)


def _pieces(scene: Scene, text: str, s: int, e: int, state: State) -> Iterator[Claim]:
    """A sentence, in pieces where it is longer than anybody writes.

    Every number is read together with all names and dates of its sentence, so the time would
    grow with the square of its length; a policy that has broken down writes such sentences.
    """
    if e - s <= _LONGEST:
        yield from _sentence(scene, text, s, e, state)
        return
    while s < e:
        cut = _BLANK.search(text, min(s + _LONGEST, e), e)
        stop = cut.end() if cut else e
        stop = min(stop, s + 2 * _LONGEST)
        for claim in _sentence(scene, text, s, stop, state):
            yield replace(claim, doubt=claim.doubt or "the sentence is too long to be read whole")
        s = stop


def _sentence(scene: Scene, text: str, s: int, e: int, state: State) -> Iterator[Claim]:
    piece = text[s:e]
    labels = [(s + a, s + b, key) for a, b, key in scene.labels.find(piece)]
    if not any(map(str.isdigit, piece)):
        if len(labels) == 1 and not labels[0][2].startswith("@"):
            a, b, key = labels[0]
            state.item, state.label, state.entity, state.here = key, text[a:b], None, False
        return
    known = state.period or scene.period
    dated = periods_in(text, s, e, known.year if known else None)
    fixed = [(a, b) for a, b, _ in (*labels, *dated)]
    numbers = [
        n for n in find_numbers(piece, s) if not any(a < n.end and n.start < b for a, b in fixed)
    ]
    whole = understood(scene, text, s, e, labels, dated, numbers, state)
    if whole is not None:
        for said in whole:
            segment = said.item in _BY_SEGMENT or said.entity == state.line_entity is not None
            doubt = said.doubt or state.doubt or (state.lead_doubt if segment else "")
            yield replace(said, doubt=doubt)
        return
    ordered = "values listed in order" if _RESPECTIVELY.search(piece) else ""
    claims: list[Claim] = []
    stood: set[int] = set()  # claims that say where something stood before
    state.consumed = 0
    before = s
    for index, number in enumerate(numbers):
        if is_operand(text, number):
            continue
        if is_counted(text, number):
            before = before if number.unit == "plain" else number.end
            continue
        follow = min(e, numbers[index + 1].start if index + 1 < len(numbers) else e)
        claim = _read(scene, text, number, before, follow, labels, dated, state)
        if claim is None:
            continue
        came_from = stood_before(text, before, number.start)
        before = number.end
        if claim.basis != "budget" and lx.HYPOTHETICAL.search(text, s, number.end):
            claim = replace(claim, doubt=NOT_A_FACT)
        if state.consumed > number.end and not came_from:
            # "rose 14.7% to $10 million in 2019": the period at the end covers both; in "to 35%,
            # down from 40% in 2019" it does not.
            claims = [_dated_like(c, claim, stood=i in stood) for i, c in enumerate(claims)]
        if claim.kind == "change_pp" and any(c.per is not None for c in claims[-1:]):
            claim = replace(claim, doubt=claim.doubt or OF_THE_SHARE)
        doubt = claim.doubt or state.doubt or ordered
        segment = claim.item in _BY_SEGMENT or claim.entity == state.line_entity is not None
        if came_from:
            stood.add(len(claims))
        doubt = doubt or (state.lead_doubt if segment else "")
        if not doubt and not stands_alone(scene, text, number, s, e, labels, dated, numbers):
            doubt = NOT_WHOLE
        claims.append(replace(claim, doubt=doubt))
    yield from claims


def _dated_like(claim: Claim, later: Claim, *, stood: bool) -> Claim:
    same = claim.item == later.item and claim.entity == later.entity
    if claim.source == "clause" or not same:
        return claim
    if stood:
        then = later.period.year_ago() if later.period else None
        return replace(claim, period=then, source="", doubt=claim.doubt.removeprefix(STOOD_BEFORE))
    return replace(claim, period=later.period, source="sentence")


def _read(
    scene: Scene,
    text: str,
    number: Number,
    before: int,
    follow: int,
    labels: Found,
    dated: Dated,
    state: State,
) -> Claim | None:
    """One number with the words before it from `before` on, and after it up to `follow`."""
    subject = find_subject(scene, text, number, before, labels, dated, state)
    known = items().get(subject.item) if subject.item else None
    kind, direction, doubt = kind_of(number, known, subject.tail, subject.word, subject.per)
    if kind is None:
        return None
    near = f"{subject.prefix} {subject.tail}"
    basis = basis_of(near, text[number.end : follow], kind, "" if subject.own else state.basis)
    attain = bool(lx.ATTAIN.search(subject.tail)) and number.unit in {"percent", "plain"}
    if attain:
        kind, basis, direction, doubt = "ratio", "budget", None, ""
        subject.doubt = attain_doubt(subject.doubt)
    own, base, earlier = period_before(text, max(before, state.consumed), number.start, dated, kind)
    after, used, base_after = period_after(text, number.end, follow, dated)
    dated_after = own is None and after is not None
    if dated_after:
        own, state.consumed = after, used
    base = base_after or base
    if base is not None:
        basis = basis or "base"
    region = near if subject.own else text[before : number.start]
    scope = scope_in(region, state.scope, attain=attain)
    claim = _claim(scene, text, number, subject, kind, direction, basis, doubt)
    claim = replace(
        claim,
        base=base,
        scope=scope,
        period=own or state.period,
        source="clause" if own else state.source,
        value=signed(number, kind, direction, known, f"{subject.label} {region}"),
    )
    if claim.kind in {"value", "ratio"}:
        level = _FROM_LEVEL.search(text[before : number.start])
        if level and (claim.period or scene.period):
            return _compared_level(scene, claim, level["what"], subject, state)
        if not earlier and not dated_after and stood_before(text, before, number.start):
            # "rose from 10 to 12 million in 2021": where the first number stood before.
            now = claim.period
            claim = replace(claim, period=now.year_ago() if now else None, source="")
            if now is None and not claim.doubt:
                claim = replace(claim, doubt=STOOD_BEFORE)
        shifted = past(region, claim.period or scene.period)
        if shifted is not None:
            own = None
            claim = replace(claim, period=shifted, source="clause", basis="")
    itself = subject.per is not None and subject.per == subject.item
    share = subject.per is None and lx.SHARE.search(subject.tail)
    if (itself or share) and not attain:
        claim = replace(claim, doubt=claim.doubt or "a share of something unnamed")
    _remember(state, subject, claim, None if earlier else own)
    return claim


def _claim(
    scene: Scene,
    text: str,
    number: Number,
    subject: Subject,
    kind: ClaimKind,
    direction: Direction,
    basis: Basis,
    doubt: str,
) -> Claim:
    nothing = "" if subject.item or subject.entity else "no known label"
    return Claim(
        start=number.start,
        end=number.end,
        text=scene.report[number.start : number.end],
        value=number.value,
        decimals=number.decimals,
        step=number.step,
        unit=number.unit,
        item=subject.item,
        label=subject.label,
        period=None,
        kind=kind,
        direction=direction,
        basis=basis,
        per=subject.per,
        entity=subject.entity,
        hedge=hedge_before(text, number),
        doubt=subject.doubt or doubt or nothing,
        sign=number.sign,
    )


def _compared_level(scene: Scene, claim: Claim, what: str, subject: Subject, state: State) -> Claim:
    """较年初 3,364 万元下降 11.15%: first the level compared with, then the change from it."""
    current = claim.period or scene.period
    assert current is not None
    if "初" in what or ("末" in what and "月" not in what):
        state.basis = "opening"
        claim = replace(claim, period=current, scope="opening")
    elif "月" in what or what == "上期":
        state.basis = "mom"
        claim = replace(claim, period=current.previous(), scope="")
    else:
        state.basis = "yoy"
        claim = replace(claim, period=current.year_ago(), scope="")
    state.here = state.here or subject.own
    if subject.own:
        state.item, state.label = subject.item, subject.label
        state.entity, state.item_doubt = subject.entity, subject.doubt
    return replace(claim, source="clause", value=claim.value)


def _remember(state: State, subject: Subject, claim: Claim, own: Period | None) -> None:
    """What the next number of the line may inherit."""
    if subject.per is None:
        state.item, state.label = subject.item, subject.label
    else:
        state.item, state.label = state.item or subject.item, state.label or subject.label
    state.entity = subject.entity
    state.here = state.here or subject.own
    state.item_doubt = subject.doubt or (claim.doubt if claim.doubt.startswith("a share") else "")
    if own is not None:
        state.period, state.source = own, "sentence"
    if claim.scope in {"ytd", "period"}:
        state.scope = claim.scope
    elif claim.scope != "":
        state.scope = ""
    state.basis = claim.basis
