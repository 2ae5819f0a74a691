"""What prose and table cells of one report share: its text, its names and its own period."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from reward_model.checks.kinds import Source
from reward_model.checks.lexicon import LIMIT_AFTER, Labels
from reward_model.checks.numbers import Number
from reward_model.checks.owners import short_names
from reward_model.checks.periods import Period, find_periods

_COMPANY = re.compile(
    r"([\u4e00-\u9fff]{2,12}?)(?:医药|药业|科技|集团|控股)?(?:股份|集团)?有限(?:责任)?公司"
)
_COMPANY_EN = re.compile(
    r"\b((?:[A-Z][\w&.-]*\s){1,4})(?:Inc|Corp|Corporation|Ltd|Limited|Co|PLC|plc|"
    r"Group|Holdings)\b"
)
_SHORT_NAME = re.compile(
    r"([\u4e00-\u9fff]{2,6}(?:药业|科技|集团|股份|银行|证券|控股|电子|化工|汽车|"
    r"能源|置业|地产|食品|医药|生物|材料|重工|机械|通信|软件))(?=(?:19|20)\d{2}年)"
)
_TITLE_NAME = re.compile(
    r"^[#\s]*([\u4e00-\u9fff]{2,12}?)(?=[:：\s]|(?:19|20)\d{2}|股份|有限|集团|公司)"
)
_SENTENCE_END = re.compile(r"[。！？；]|[.;!?]\s*$|[.;]\s+[A-Z]")


@dataclass(slots=True)
class Scene:
    """A report being read."""

    report: str
    """The text as given."""
    flat: str
    """The same without HTML, same length."""
    labels: Labels
    """Finder of item and entity names."""
    companies: tuple[str, ...] = ()
    """Names of companies that the prompt has figures of."""
    clean: str = field(init=False)
    """`flat` without emphasis marks, same length."""
    period: Period | None = field(init=False)
    """The period the title names; None where it names none or several."""
    titled: bool = field(init=False)
    """Whether the period stands in a title; otherwise it is only the first that is named."""
    names: tuple[str, ...] = field(init=False)
    """What the company is called, so that its name before a label is no doubt."""

    def __post_init__(self) -> None:
        """Read the title."""
        self.clean = re.sub(r"\*\*|__|`", lambda m: " " * len(m[0]), self.flat)
        self.clean = self.clean.replace("’", "'").replace("‘", "'")
        # Title and first paragraph; a company or year named later may be another's.
        head = self.clean[:600]
        title = next((line for line in head.split("\n") if line.strip()), "")
        named = {p for *_, p in find_periods(title)}
        found = named or {p for *_, p in find_periods(head)[:1]}
        self.period = next(iter(found)) if len(found) == 1 else None
        # A first sentence that names a year is no title: what follows may be about another.
        self.titled = len(named) == 1 and (
            title.lstrip().startswith(("#", "<")) or not _SENTENCE_END.search(title)
        )
        names = {m[0] for m in _COMPANY.finditer(head)} | {m[1] for m in _COMPANY.finditer(head)}
        names |= {m[0].split("有限")[0] for m in _COMPANY.finditer(head)}
        names |= {m[1].strip() for m in _COMPANY_EN.finditer(head)} | {
            m[0] for m in _COMPANY_EN.finditer(head)
        }
        names |= {m[1] for m in _SHORT_NAME.finditer(self.clean[:3000])}
        if not _SENTENCE_END.search(title):
            names |= {m[1] for m in [_TITLE_NAME.match(title)] if m}
        for company in self.companies:
            names |= short_names(company)
        self.names = tuple(sorted((n for n in names if len(n) >= 2), key=len, reverse=True))

    @property
    def period_source(self) -> Source:
        """Where `period` was found."""
        return "report" if self.period and self.titled else ""

    def without_names(self, text: str) -> str:
        """The text without the company's name."""
        for name in self.names:
            if name in text:
                text = text.replace(name, " ")
        return text


_COUNTED = re.compile(
    r"^\s*(?:个(?!百分点|基点)|家|名|项|年|月|日|级|分(?!别)|条|款|大|类|位|人|季|"
    r"周|轮|期|小时|号|只|座|种|步|层|份|岁|股|平|吨|kg|pieces|people|employees|"
    r"years?|months?|quarters?|weeks?|hours?|segments?|customers?|stores?|countries|"
    r"regions?)",
    re.I,
)
_ORDINAL = re.compile(r"(?:top|第|前|近|no\.?|note|item|page|step|phase|level|[#qh§])\s*$", re.I)
_BOUND = re.compile(r"(?:[≥≤<>±~〜]|>=|<=|\d\s*[-~至—]|\d\s*[%万亿]?元?\s*[-~至—])\s*$")
_RANGE_AFTER = re.compile(r"^\s*[-~至—]\s*[-+]?\d")
_PERCENT_NEXT = re.compile(r"^\s*至\s*[-+]?[\d.,]+\s*%")
_OPERATOR_BEFORE = re.compile(r"[/×*÷=+\[]\s*\(*\s*$|[-(]\s*$")
_OPERATOR_AFTER = re.compile(r"^\s*[)\]]*\s*[/×*÷+]|^\s*[)\]]*\s*-\s*[\d(\[]")


def is_operand(text: str, number: Number) -> bool:
    """Whether a number is a term of a formula written out, not its result."""
    before, after = text[max(0, number.start - 6) : number.start], text[number.end : number.end + 6]
    if _OPERATOR_AFTER.match(after) and not _RANGE_AFTER.match(after):
        return True
    match = _OPERATOR_BEFORE.search(before)
    return bool(match and match[0].strip()[:1] in {"/", "×", "*", "÷"})


def is_counted(text: str, number: Number) -> bool:
    """Whether a number counts things, orders them or bounds a range: no claim to check.

    >>> from reward_model.checks.numbers import find_numbers
    >>> [is_counted(t, find_numbers(t)[0]) for t in ("前5大客户", "3个月", "≥8.5次", "14.7%")]
    [True, True, True, False]
    """
    before, after = (
        text[max(0, number.start - 8) : number.start],
        text[number.end : number.end + 12],
    )
    if LIMIT_AFTER.match(after):
        return True
    # 增长11.1%至20亿元: a change and the level it led to, no range.
    percent = number.unit == "percent"
    bound = _BOUND.search(before)
    if bound and not (bound[0].rstrip().endswith("至") and ("%" in bound[0]) != percent):
        return True
    ranged = _RANGE_AFTER.match(after) and not is_operand(text, number)
    if ranged and not (
        percent and after.lstrip().startswith("至") and not _PERCENT_NEXT.match(after)
    ):
        return True
    if number.unit in {"plain", "times"} and _ORDINAL.search(before):
        return True
    if number.unit == "plain":
        if _COUNTED.match(after) or (number.sign == "" and re.search(r"[A-Za-z_]$", before)):
            return True
        digits = number.digits
        # "2021" without a unit is a year, though 2,021 would be an amount.
        if digits.isdigit() and len(digits) == 4 and digits[:2] in {"19", "20"}:
            return True
    return False
