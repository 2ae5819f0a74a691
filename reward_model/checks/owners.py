"""Whose figures: the companies of a prompt that has several, and parent beside consolidated."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from reward_model.checks.figures import PARENT, Figure
from reward_model.checks.items import clean_label
from reward_model.checks.lexicon import aliases

_COMPANY = re.compile(
    r"[\u4e00-\u9fffA-Za-z]*?(?:公司|集团|股份|银行|证券|药业|科技|实业|控股)$|"
    r"\b(?:Inc|Corp|Corporation|Ltd|Limited|PLC|Company|Group|Holdings|Co|LLC|AG|SE|N\.?V)\.?$",
    re.I,
)
_NO_NAME = re.compile(
    r"^(?:本|母|子|分|全|该|各|参股|上市|the|our|parent)?\s*(?:公司|集团|company|group)$", re.I
)
_PARENT = re.compile(r"母公司(?!所有者|股东|净利|的净)|\bparent(?:[- ]company| only)\b", re.I)
_WORDS = re.compile(
    r"(?:19|20)\d{2}\s*年?(?:度|末)?|合并|资产负债表|利润表|现金流量表|财务(?:报表|数据|指标)|主要|情况|"
    r"\b(?:consolidated|statements?|balance sheets?|of|income|operations|financial|data|the)\b|"
    r"\bFY\d*\b",
    re.I,
)


def name_in(text: str) -> str:
    """The company a heading or header names, or an empty string.

    >>> name_in("乙公司 2023年利润表"), name_in("Acme Corp."), name_in("合并利润表")
    ('乙公司', 'Acme Corp', '')
    """
    text = _WORDS.sub(" ", clean_label(text)).strip(" ()（）:：,，-—")
    text = re.sub(r"\s+", " ", text).rstrip(".")
    if not _COMPANY.search(text) or _NO_NAME.match(text) or len(text) > 40:
        return ""
    return text


def owned(blocks: Sequence[tuple[tuple[str, ...], list[Figure]]]) -> list[Figure]:
    """The figures of all tables, each with its company where the prompt has several.

    `blocks`: headings and figures of each table.
    """
    rows: list[tuple[str, Figure]] = []
    for headings, figures in blocks:
        section = next((n for n in map(name_in, reversed(headings)) if n), "")
        if any(_PARENT.search(h) for h in headings[-2:]):
            section = PARENT
        for figure in figures:
            column = name_in(figure.column)
            rows.append((column or section, figure))
    names = {name for name, _ in rows} - {""}
    given: dict[tuple[str | None, str, object], set[str]] = defaultdict(set)
    for name, figure in rows:
        if figure.item:
            given[figure.item, figure.measure, figure.period].add(name)
    several = len(names - {PARENT}) > 1 and any(len(o - {"", PARENT}) > 1 for o in given.values())
    apart = PARENT in names and any(PARENT in o and len(o) > 1 for o in given.values())
    kept = (names - {PARENT} if several else set()) | ({PARENT} if apart else set())
    if not kept:
        return [figure for _, figure in rows]
    return [figure._replace(owner=name) if name in kept else figure for name, figure in rows]


_ENGLISH_TAIL = re.compile(
    r",?\s+(?:Inc|Corp|Corporation|Ltd|Limited|PLC|Company|Group|Holdings|Co|LLC|AG|SE|N\.?V)\.?$",
    re.I,
)


def short_names(company: str) -> set[str]:
    """What prose calls a company.

    >>> sorted(short_names("Birch Inc")), sorted(short_names("东海股份"))
    (['Birch', 'Birch Inc'], ['东海股份'])
    """
    short = _ENGLISH_TAIL.sub("", company)
    return {company, *aliases(company), *({short} if len(short) > 3 else ())}


def mentions(text: str, owners: Sequence[str]) -> list[tuple[int, str]]:
    """Where `text` names one of the companies: offset and company, in order."""
    found: dict[int, str] = {}
    for owner in owners:
        names = short_names(owner) if owner != PARENT else {PARENT, "parent company"}
        others = [o for o in owners if o != owner]
        for name in sorted(names, key=len):
            if any(name.casefold() in o.casefold() for o in others):
                continue  # a short form that two companies share names neither
            for match in re.finditer(re.escape(name), text, re.I):
                found[match.start()] = owner
    return sorted(found.items())


class Whose:
    """Which company a place in a report speaks of."""

    def __init__(self, report: str, owners: Sequence[str]) -> None:
        """Find every mention of one of `owners`, and where lines and headings begin."""
        self._found = mentions(report, owners)
        self._places = [place for place, _ in self._found]
        self._lines = [0, *(m.end() for m in re.finditer(r"\n", report))]
        self._headings: list[tuple[int, str | None]] = []
        for match in re.finditer(r"^[ *]{0,6}(?:#{1,6}\s|\*\*).*$", report, re.M):
            named = {o for p, o in self._found if match.start() <= p < match.end()}
            if named or match[0].lstrip().startswith("#"):
                self._headings.append((match.start(), named.pop() if len(named) == 1 else None))
        names = {owner for _, owner in self._found if owner != PARENT}
        self._only = names.pop() if len(names) == 1 else None

    def of(self, place: int) -> tuple[str | None, bool]:
        """The company (None: none is named), and whether the line names others too."""
        line = self._lines[bisect_right(self._lines, place) - 1]
        after = bisect_right(self._lines, place)
        # Past any text: the last line has no line after it.
        end = self._lines[after] if after < len(self._lines) else 1 << 60
        first, last = bisect_left(self._places, line), bisect_left(self._places, end)
        here = self._found[first:last]
        if here:
            before = [owner for p, owner in here if p < place]
            return (before or [here[0][1]])[-1], len({owner for _, owner in here}) > 1
        for start, owner in reversed(self._headings):
            if start <= place and owner is not None:
                return owner, False
        return self._only, False
