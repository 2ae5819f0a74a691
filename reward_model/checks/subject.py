"""What a number is about: the label before it, after it, or carried over from the number before."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reward_model.checks import lexicon as lx
from reward_model.checks.columns import Scope
from reward_model.checks.dates import Dated, blank_periods, without_periods
from reward_model.checks.kinds import Basis, Source
from reward_model.checks.numbers import Number
from reward_model.checks.periods import Period
from reward_model.checks.scene import Scene

Found = list[tuple[int, int, str]]
"""Start, end and key of each name; the key of an entity begins with `@`."""


@dataclass(slots=True)
class State:
    """What a line has said so far."""

    item: str | None = None
    """The item last spoken of."""
    label: str = ""
    """Its name as written."""
    entity: str | None = None
    """The customer, region or row last spoken of."""
    period: Period | None = None
    """The period in force."""
    source: Source = ""
    """Where it comes from."""
    scope: Scope = ""
    """The column in force (累计, 单月)."""
    basis: Basis = ""
    """The basis of the last change."""
    doubt: str = ""
    """A doubt on everything in the line."""
    here: bool = False
    """Whether the item was named in this very sentence."""
    consumed: int = 0
    """Up to where periods after a number are used up."""
    item_doubt: str = ""
    """The doubt on the last claim, which what follows inherits with its item."""
    line_entity: str | None = None
    """Whom the whole line is about (客户甲：...)."""
    lead_doubt: str = ""
    """An unknown name that opens the line."""


@dataclass(slots=True)
class Subject:
    """The reading of the words before a number."""

    item: str | None
    """Key of the item."""
    label: str
    """Name as written."""
    entity: str | None
    """Entity, when it is about one."""
    per: str | None = None
    """Key of the denominator."""
    own: bool = False
    """Whether the number has a label of its own."""
    prefix: str = ""
    """The words of the clause before the label."""
    tail: str = ""
    """The words between label and number."""
    word: str = ""
    """A direction word after the number (`a 3% decline in ...`)."""
    doubt: str = ""
    """Why the link is not certain."""


_DELIMITER = re.compile(
    r"[，,；;：:（()）、。“”\"'‘’|=/>→]|\s-\s|\s[—]+\s|\bwhile\b|\band\b|\bbut\b"
)
_AFTER_LABEL = (
    re.compile(r"^\s*的\s*"),
    re.compile(
        r"^\s*(?:year-on-year\s+|yoy\s+)?"
        r"(?P<dir>increase|decrease|growth|decline|drop|rise|fall|gain|reduction|jump)\s+in\s+"
        r"(?:the\s+|its\s+|our\s+)?|^\s*(?:in|of)\s+(?:the\s+|its\s+|our\s+)?",
        re.I,
    ),
)
_OF = re.compile(r"\s*of\s+(?:the\s+|its\s+|our\s+|total\s+)?")
_SHARE_OF = re.compile(
    r"占(?!比|有|据)[^，。；：,]{0,4}$"
    r"|(?:share of|account(?:ed|s|ing) for|represent(?:ed|s|ing)?)\s+\S*\s*$",
    re.I,
)
_NAME_WORDS = re.compile(
    r"地区|区域|市场|场|客户|部门|事业部|团队|医药|药业|公司|有限公司|分公司|销售|"
    r"负责|业务|分部|订单|贡献"
    r"|\b(?:segment|region|division|business|customers?|market|sales|revenue)\b",
    re.I,
)


def find_subject(
    scene: Scene, text: str, number: Number, before: int, labels: Found, dated: Dated, state: State
) -> Subject:
    """The subject of a number whose words begin at `before`."""
    gap = [row for row in labels if before <= row[0] and row[1] <= number.start]
    aside = re.match(r"\s*\([^()]*\)", text[before : number.start]) if state.item else None
    if aside:
        # 51.09%（销售费用/营业收入），同比 ...: the bracket explains the number before it.
        gap = [row for row in gap if row[0] >= before + aside.end()]
    post = _label_after(text, number, labels)
    found = Subject(state.item, state.label, state.entity)
    of = _OF.match(text, number.end) if number.unit == "percent" else None
    if of:
        found.per = next((key for a, _, key in labels if a == of.end()), None)
        post = None if found.per else post
    tail_start = before
    if gap:
        tail_start = _from_gap(found, text, before, gap, state)
    elif post is not None:
        key, label, found.word = post
        found.own, found.label = True, label
        found.item, found.entity = (None, key[1:]) if key.startswith("@") else (key, None)
    found.tail = text[tail_start : number.start]
    # What is left once all known words are gone is what is not understood, and is a doubt.
    rest = lx.leftover(_plain(scene, blank_periods(found.tail, tail_start, dated)))
    if not found.own:
        named = lx.YOY.search(found.tail) or lx.MOM.search(found.tail)
        if rest:
            found.doubt = f"label not certain ({rest[:20]})"
        elif not state.here and not named:
            found.doubt = "label from another sentence"
        found.doubt = found.doubt or state.item_doubt
    elif gap and found.per is None and not found.doubt:
        ahead = lx.leftover(scene.without_names(without_periods(found.prefix)))
        if found.entity is not None:
            rest, ahead = _NAME_WORDS.sub("", rest).strip(), _NAME_WORDS.sub("", ahead).strip()
        if rest:
            found.doubt = f"words between label and number ({rest[:20]})"
        elif ahead and lx.leftover(_last_word(found.prefix)):
            # "European revenue", 华东营业收入: whose it is stands right before the label.
            found.doubt = f"may be about {ahead[:20]}"
        elif ahead:
            found.doubt = f"words before the label ({ahead[:20]})"
    return found


def _last_word(prefix: str) -> str:
    """The word, or the last two Chinese characters, that a label follows without a break."""
    match = re.search(r"(?:[A-Za-z][\w'&-]*\s|[\u4e00-\u9fff]{1,2})$", prefix)
    return match[0] if match else ""


def _from_gap(found: Subject, text: str, before: int, gap: Found, state: State) -> int:
    """Fill in what the names before the number say; returns where the words after them begin."""
    found.own = True
    a, tail_start, key = gap[-1]
    previous = gap[-2] if len(gap) > 1 else None
    joint = text[previous[1] if previous else before : a]
    slash = previous is not None and re.fullmatch(r"\s*[/÷]\s*", joint)
    share = (previous or found.item) and _SHARE_OF.search(joint) and not key.startswith("@")
    if previous is not None and (slash or share):
        found.per, (a, _, key) = key, previous
    elif share:
        found.per, key, found.own = key, found.item or "", False
    left = max((m.end() for m in _DELIMITER.finditer(text, before, a)), default=before)
    found.prefix = text[left:a]
    named = [row for row in gap[:-1] if row[2].startswith("@")]
    beside = [row for row in named if not re.search(r"[，,；：:]", text[row[1] : a])]
    entity: str | None = None
    if key.startswith("@"):
        entity = key[1:]
    elif beside and found.per is None:
        # 华禾嘉泰收入 447 万元: the customer's revenue, not the company's.
        entity, found.prefix = beside[-1][2][1:], ""
    elif state.line_entity is not None and found.per is None:
        entity = state.line_entity
    if entity is not None:
        found.item, found.label, found.entity = None, entity, entity
        return tail_start
    end = next(e for s, e, k in gap if s == a and k == key) if found.own else tail_start
    found.item, found.label, found.entity = key, text[a:end] if found.own else found.label, None
    other = named[0][2][1:] if named else (state.entity if state.here else None)
    if found.per is None and other:
        found.doubt = f"may be about {other}"
    return tail_start


def _plain(scene: Scene, tail: str) -> str:
    # Of "毛利率 = (A - B) / A = " only what follows the last sign of equality matters.
    return scene.without_names(tail.rpartition("=")[2] if "=" in tail else tail)


def _label_after(text: str, number: Number, labels: Found) -> tuple[str, str, str] | None:
    rest = text[number.end : number.end + 40]
    for pattern in _AFTER_LABEL:
        match = pattern.match(rest)
        if match:
            place = number.end + match.end()
            for a, b, key in labels:
                if a == place:
                    return key, text[a:b], match.groupdict().get("dir") or ""
    return None
