"""Claims recomputed from the tables: verified, wrong, or not verifiable, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from reward_model.checks.claims import Claim
from reward_model.checks.columns import read_header
from reward_model.checks.extract import extract_claims
from reward_model.checks.facts import Facts, read_facts
from reward_model.checks.figures import PARENT
from reward_model.checks.kinds import ANOTHER, NOT_A_FACT
from reward_model.checks.numbers import find_numbers
from reward_model.checks.owners import Whose
from reward_model.checks.reading import Reading
from reward_model.checks.readings import readings

Status = Literal["verified", "wrong", "unverifiable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one claim."""

    claim: Claim
    """The claim."""
    status: Status
    """`wrong` only where item, period and kind are certain and no reasonable reading fits."""
    expected: float | None
    """What the tables give, in base units; None where they give nothing."""
    reason: str
    """One short line for people."""


def tolerance(claim: Claim, reading: Reading, *, most: bool = False) -> float:
    """How far apart two numbers may be: half of the last decimal place shown, and a whole one
    where digits were cut off instead of rounded.

    Differences get a whole place (they are taken between rounded numbers), other derived numbers
    up to two where that is next to nothing; a number said to be `about` so much gets 5%. What the
    rounding of the tables adds counts up to the claim's own last place, with `most` in full: a
    number in between is neither borne out nor contradicted.

    >>> [c] = extract_claims("Revenue was 12.3 million in 2021.")
    >>> [round(tolerance(c, Reading(x, ""))) for x in (12.34e6, 12.26e6)]
    [101000, 50000]
    """
    # Cut off instead of rounded, a number is at most one last place too small, never too large;
    # the .01 is for floats: 12.35 - 12.34 is not quite 0.01.
    places = 1.01 if abs(reading.value) > abs(claim.value) else 0.5
    if claim.kind in {"change_pp", "change_abs"}:
        places = 1.01
    allowed = places * claim.step
    # Whoever takes a ratio of two figures that were rounded before misses it by a place or two.
    if claim.kind in {"ratio", "change_pct"}:
        allowed = max(allowed, min(2.01 * claim.step, 0.001 * abs(reading.value)))
    allowed += (reading.slack if most else min(reading.slack, claim.step)) + 1e-9 * abs(
        reading.value
    )
    return max(allowed, _about(claim, reading))


def _about(claim: Claim, reading: Reading) -> float:
    # "About 20 million" for 20.9 is nobody's error; who rounds by eye says "about".
    return 0.05 * abs(reading.value) if claim.hedge == "about" else 0.0


def gap_to(claim: Claim, reading: Reading) -> float:
    """How far a claim is from a reading."""
    return abs(claim.value - reading.value)


def fits(claim: Claim, reading: Reading) -> bool:
    """Whether a claim says what a reading of the tables gives."""
    gap = claim.value - reading.value
    if claim.kind in {"value", "change_abs"} and abs(claim.value) > 2.5 * abs(reading.value):
        # "0.1 million" is not borne out by 900 dollars, whatever its last place allows.
        return False
    # "Over 100 million" is said of 104, hardly of 120: who has 120 says so. The same for "under".
    if claim.hedge == "over":
        return -0.15 * abs(reading.value) <= gap <= tolerance(claim, reading)
    if claim.hedge == "under":
        return -tolerance(claim, reading) <= gap <= 0.15 * abs(reading.value)
    return abs(gap) <= tolerance(claim, reading)


def verify(facts: Facts | str, report: str) -> list[Verdict]:
    """Every numeric claim of `report` against the tables of a prompt (or its facts).

    >>> table = "| 项目 | 2021年 | 2020年 |\\n|---|---|---|\\n| 营业收入 | 1,200 | 1,000 |"
    >>> prompt = "单位：万元\\n" + table
    >>> for v in verify(prompt, "2021年营业收入为1,200万元，同比增长25.0%。"):
    ...     print(v.status, v.claim.text, v.reason)
    verified 1,200万元 matches the tables
    wrong 25.0% 营业收入 2021年, change on year: tables give 20.0%
    """
    if isinstance(facts, str):
        facts = read_facts(facts)
    claims = extract_claims(report, entities(facts), facts.owners)
    if not facts.owners:
        return [judge(facts, claim) for claim in claims]
    whose = Whose(report, facts.owners)
    return [_of_company(facts, claim, whose) for claim in claims]


def _of_company(facts: Facts, claim: Claim, whose: Whose) -> Verdict:
    """The verdict where the prompt has figures of several companies."""
    owner, several = whose.of(claim.start)
    companies = [o for o in facts.owners if o != PARENT]
    if owner is None and len(companies) > 1:
        # Nobody is named: a number that is right of one of them proves nothing.
        claim = replace(claim, doubt=claim.doubt or "of which company is not said")
        verdict = judge(facts, claim)
        if verdict.status == "verified":
            return Verdict(claim, "unverifiable", verdict.expected, claim.doubt)
        return verdict
    if several:
        claim = replace(claim, doubt=claim.doubt or "several companies are named")
    return judge(facts.of(owner or ""), claim)


@lru_cache(maxsize=64)
def entities(facts: Facts) -> frozenset[str]:
    """Row labels of the prompt that are no known items: customers, regions, segments."""
    names = {f.label for f in facts.figures if f.item is None and f.scope != "benchmark"}
    return frozenset(name for name in names if _is_name(name))


def _is_name(label: str) -> bool:
    header = read_header(label)
    english = label.isascii() and " " in label
    scoped = header.scope not in {"", "benchmark"} and not english  # "Fair value of plan assets"
    plain = header.role != "period" and not header.measured and not scoped
    return (
        plain
        and 2 <= len(label) <= 120
        and label.casefold() not in _TOO_COMMON
        and not label[0].isdigit()
    )


_TOO_COMMON = frozenset(
    {"合计", "总计", "其他", "小计", "部门", "客户", "金额", "增长率", "total", "other", "others"}
    | {"net", "current", "noncurrent", "basic", "diluted", "assets", "liabilities", "amount"}
    | {"total assets", "less", "thereof"}
)


def judge(facts: Facts, claim: Claim) -> Verdict:
    """The verdict on one claim."""
    if claim.item is None and claim.entity is None:
        return Verdict(claim, "unverifiable", None, claim.doubt or "no known label")
    if claim.doubt == NOT_A_FACT:
        return Verdict(claim, "unverifiable", None, claim.doubt)
    found = []
    for reading in readings(facts, claim):
        found.append(reading)
        if reading.right and fits(claim, reading):
            if claim.doubt.startswith(ANOTHER) and claim.item is not None:
                return Verdict(claim, "unverifiable", reading.value, claim.doubt)
            return Verdict(claim, "verified", reading.value, "matches the tables")
    # From here on the claim fits no reading. It is wrong only where nothing else explains it: each
    # question below is one such explanation.
    settled = [r for r in found if r.right and r.sure]
    nearest = min(settled, key=lambda r: abs(r.value - claim.value), default=None)
    # The usual reading is the one to quote, unless another is clearly the one that was meant.
    best = (
        nearest
        if nearest and abs(nearest.value - claim.value) < 0.05 * abs(nearest.value)
        else next(iter(settled), None)
    )
    if best is None:
        return Verdict(claim, "unverifiable", None, claim.doubt or "the tables do not give it")
    if claim.doubt:
        return Verdict(claim, "unverifiable", best.value, claim.doubt)
    if claim.hedge and abs(claim.value - best.value) < 0.3 * abs(best.value):
        return Verdict(claim, "unverifiable", best.value, "an approximate number, not far off")
    for reading in found:
        if not reading.right and fits(claim, reading) and reading.excuse(claim):
            return Verdict(claim, "unverifiable", best.value, f"may be {reading.name}")
    if claim.kind.startswith("change") and not (claim.direction or claim.sign):
        turned = replace(claim, value=-claim.value)
        if any((r.right or r.excuse(claim)) and fits(turned, r) for r in found):
            return Verdict(claim, "unverifiable", best.value, "a change without a direction")
    if claim.open_scale:
        return Verdict(claim, "unverifiable", best.value, "the table states no unit")
    if claim.cell and facts.shows(claim.label, claim.column, claim.shown):
        # However it was read: the same cell stands in the prompt.
        return Verdict(claim, "unverifiable", best.value, "copied from the tables")
    if facts.says(claim.text):
        return Verdict(claim, "unverifiable", best.value, "the text of the prompt says so too")
    gap = abs(claim.value - best.value)
    if any(r.right and gap_to(claim, r) <= tolerance(claim, r, most=True) for r in found):
        return Verdict(claim, "unverifiable", best.value, "within the rounding of the tables")
    # A growth of 12.34% taken from figures in millions is 12.31% from those in thousands.
    if claim.kind != "value" and gap <= 5.01 * claim.step and gap < 0.004 * abs(best.value):
        return Verdict(
            claim, "unverifiable", best.value, "off in the last digits, as from rounded inputs"
        )
    # NaN: there is no such number at all, as with percentage points of an amount (see `points`).
    if best.value != best.value:
        return Verdict(claim, "wrong", None, f"{describe(claim)}: {best.name}")
    return Verdict(
        claim, "wrong", best.value, f"{describe(claim)}: tables give {show(claim, best.value)}"
    )


_WHAT = {
    "change_pct": "change",
    "change_pp": "change in points",
    "change_abs": "change in amount",
    "ratio": "",
    "value": "",
}
_AGAINST = {
    "yoy": " on year",
    "mom": " on the period before",
    "opening": " since the opening",
    "budget": "degree of attainment",
}


def describe(claim: Claim) -> str:
    """What a claim is about, for people."""
    chinese = any("\u4e00" <= c <= "\u9fff" for c in claim.label)
    period = claim.period.label("zh" if chinese else "en") if claim.period else ""
    tail = (_WHAT[claim.kind] + _AGAINST.get(claim.basis, "")).strip()
    head = f"{claim.label} {period}".strip()
    return f"{head}, {tail}" if tail else head


def show(claim: Claim, value: float) -> str:
    """A value the way the claim shows its own.

    >>> [c] = extract_claims("2021年营业收入为12.3亿元。")
    >>> show(c, 1.5e9)
    '15.0亿元'
    """
    numbers = find_numbers(claim.text)
    word = numbers[0].word if numbers else ""
    scale = claim.step * 10.0**claim.decimals
    gap = " " if word.isalpha() and word.isascii() else ""
    return f"{value / scale:,.{claim.decimals}f}{gap}{word}"
