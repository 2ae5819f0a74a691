"""Claims in running text: each number is read together with the words between it and its label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from reward_model.checks import lexicon as lx
from reward_model.checks.claims import Basis, Claim, ClaimKind, Source
from reward_model.checks.columns import Scope
from reward_model.checks.items import CAN_BE_NEGATIVE, Item, items
from reward_model.checks.numbers import Number, find_numbers
from reward_model.checks.periods import Period, find_periods
from reward_model.checks.scene import Scene, is_counted, is_operand

_SENTENCE = re.compile(r"[。！？!?；;\n]|(?<=[a-z0-9)%])\.\s+(?=[A-Z])")
_DELIMITER = re.compile(
    r"[，,；;：:（()）、。“”\"'‘’|=/>→]|\s-\s|\s[—]+\s|\bwhile\b|\band\b|\bbut\b"
)
_BARE_MONTH = re.compile(r"(?<![\d年.\-/—~至])(?P<m>1[0-2]|0?[1-9])\s*月(?!\s*[-—~至]|个|均)份?")
_BARE_SPAN = re.compile(r"(?<![\d年.\-/])0?1\s*[-—~至]\s*(?P<m>1[0-2]|0?[1-9])\s*月")
_BARE_QUARTER = re.compile(r"(?:第?(?P<q>[一二三四])季度|(?<![A-Za-z\d])Q(?P<n>[1-4])(?!\s*\d))")
_BASE_BEFORE = re.compile(r"(?:较|比|相比|相较|相较于|对比|与|同|高于|低于|than|from|with|to|vs\.?|versus|against|over|since)\s*(?:the\s+)?(?:于)?$", re.I)  # fmt: skip
_FROM_BEFORE = re.compile(r"(?:由|从|自|from)\s*(?:the\s+)?$", re.I)
_AFTER_PERIOD = re.compile(r"^\s*(?:in|for|during|at|as of|by|at the end of)\s+(?:the\s+)?(?:year\s+|full\s+year\s+|fiscal\s+)?", re.I)  # fmt: skip
_AFTER_LABEL_ZH = re.compile(r"^\s*的\s*")
_AFTER_LABEL_EN = re.compile(r"^\s*(?:year-on-year\s+|yoy\s+)?(?P<dir>increase|decrease|growth|decline|drop|rise|fall|gain|reduction|jump)\s+in\s+(?:the\s+|its\s+|our\s+)?|^\s*(?:in|of)\s+(?:the\s+|its\s+|our\s+)?", re.I)  # fmt: skip
_AFTER_BASIS = re.compile(r"^\s*[(（]?\s*(?P<b>同比|环比|yoy|mom|qoq|year[- ]on[- ]year|year[- ]over[- ]year|quarter[- ]on[- ]quarter|month[- ]on[- ]month)(?=\s*(?:[)）,，。;；、.|]|$|and\b|to\b|in\b|,))", re.I)  # fmt: skip
_FROM_NUMBER = re.compile(r"(?:由|从|自|\bfrom)\s*(?:人民币|RMB\s*)?$", re.I)
_SIZE_WORD = re.compile(r"[降增涨跌]幅")
_SHARE_OF = re.compile(
    r"占(?!比|有|据)[^，。；：,]{0,4}$|(?:share of|account(?:ed|s|ing) for|represent(?:ed|s|ing)?)\s+\S*\s*$",
    re.I,
)
_FROM_LEVEL = re.compile(
    r"(?:较|比|于|与|than|from|over)\s*(?P<what>上年同期|去年同期|上年末|去年末|上年|去年|年初|期初|上月末|上月|上期)(?:相比)?\s*(?:的|末|余额|数|为|[:：（(])*\s*$"
)
_NAME_WORDS = re.compile(
    r"地区|区域|市场|场|客户|部门|事业部|团队|医药|药业|公司|有限公司|分公司|销售|负责|业务|分部|订单|贡献|\b(?:segment|region|division|business|customers?|market|sales|revenue)\b",
    re.I,
)
_RESPECTIVELY = re.compile(r"分别|respectively", re.I)


@dataclass(slots=True)
class _State:
    """What the sentence has said so far."""

    item: str | None = None
    label: str = ""
    entity: str | None = None
    period: Period | None = None
    source: Source = ""
    scope: Scope = ""
    basis: Basis = ""
    doubt: str = ""
    here: bool = False
    consumed: int = 0
    item_doubt: str = ""
    line_entity: str | None = None
    lead_doubt: str = ""


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

NOT_A_FACT = "not stated as a fact"
"""The doubt of targets, forecasts and conditions: not checked at all."""

_GENERIC_LEAD = re.compile(
    r"分析|洞察|结论|能力|风险|指标|概览|表现|情况|成效|质量|效率|结构|趋势|对比|摘要|亮点|问题|预警|提示|驱动|因素|健康|水平|变化|异常|核心|关键|管理|控制|评估|数据|依据|说明|业绩|盈利|偿债|营运|成长|现金流|利润|收入|费用|成本|资产|负债|周转|判断|总结|解读|特征|来源|投入|增长|预算|目标|行业|警示|归因|"
    r"summary|overview|performance|profitab|liquidity|solvency|leverage|efficien|growth|cash|margin|cost|expense|income|revenue|highlights?|key|risk|insight|conclusion|trend|findings?|returns?|results?|balance", re.I,
)  # fmt: skip


_LEAD = re.compile(r"^[\s\-*•·>\d.、)(✅]*(?P<lead>[^：:，,。；;|]{2,24})[：:](?!\s*$)")


def _lead(scene: Scene, line: str) -> tuple[str | None, str]:
    """Whom a list line is about (客户甲：收入 447 万元): an entity, or an unknown name as a doubt."""
    match = _LEAD.match(line)
    if not match:
        return None, ""
    lead = match["lead"]
    found = list(scene.labels.find(lead))
    entity = next((key[1:] for _, _, key in found if key.startswith("@")), None)
    if found and entity is None:
        return None, ""
    if entity is not None:
        a, b, _ = next(row for row in found if row[2].startswith("@"))
        rest = lx.leftover(scene.without_names(lead[:a] + re.sub(r"^\([^()]*\)?", "", lead[b:])))
        return entity, f"the line is about {rest[:20]}" if rest else ""
    if _GENERIC_LEAD.search(lead):
        return None, ""
    rest = lx.leftover(scene.without_names(_no_periods(lead, 0, [], lead)))
    return None, f"the line is about {rest[:20]}" if rest else ""


def prose_claims(scene: Scene, taken: Iterable[tuple[int, int]]) -> Iterator[Claim]:
    """The claims outside `taken` (the tables), line by line."""
    chars = list(scene.clean)
    for start, end in taken:
        chars[start:end] = ["\n" if c == "\n" else " " for c in chars[start:end]]
    text = "".join(chars)
    heading_doubt, heading_level = "", 9
    heading_period: Period | None = None
    heading_scope: Scope = ""
    intro_scope: Scope = ""
    intro_doubt = ""
    offset = 0
    for line in text.split("\n"):
        mark = re.match(r"\s*(#{1,6})\s", line)
        if mark:
            level = len(mark[1])
            hypothetical = bool(lx.HYPOTHETICAL_HEADING.search(line))
            if hypothetical and (level <= heading_level or not heading_doubt):
                heading_doubt, heading_level = "under a heading about the future", level
            elif not hypothetical and level <= heading_level:
                heading_doubt, heading_level = "", 9
            found = find_periods(line)
            heading_period = (
                found[0][2] if len(found) == 1 else (None if level <= 2 else heading_period)
            )
            heading_scope = "ytd" if lx.YTD.search(line) else ""
        listed = bool(re.match(r"\s*(?:[-*•·]|\d+[.、)])\s", line))
        if line.strip() and not listed:
            intro_scope, intro_doubt = "", ""
        if any(c.isdigit() for c in line):
            entity, about = _lead(scene, line)
            state = _State(
                period=heading_period or scene.period,
                source="heading" if heading_period else ("report" if scene.period else ""),
                doubt=heading_doubt or intro_doubt,
                lead_doubt=about,
                line_entity=entity,
            )
            for claim in line_claims(scene, text, offset, offset + len(line), state):
                if not claim.scope and (intro_scope or heading_scope):
                    claim = replace(claim, scope=intro_scope or heading_scope)
                yield claim
        if re.search(r"[：:]\s*$", line) and not mark:
            # What introduces a list speaks for its items.
            intro_scope = "benchmark" if lx.BENCHMARK.search(line) else ""
            intro_doubt = NOT_A_FACT if lx.HYPOTHETICAL.search(line) else ""
        offset += len(line) + 1


def line_claims(scene: Scene, text: str, start: int, end: int, state: _State) -> Iterator[Claim]:
    """The claims of `text[start:end]`, one sentence after the other."""
    place = start
    spans = []
    for cut in _SENTENCE.finditer(text, start, end):
        spans.append((place, cut.start()))
        place = cut.end()
    spans.append((place, end))
    for index, (s, e) in enumerate(spans):
        if index:
            # A new sentence keeps the subject, but only as a guess.
            state.scope, state.basis, state.here = "", "", False
        yield from _sentence(scene, text, s, e, state)


def _periods(text: str, s: int, e: int, year: int | None) -> list[tuple[int, int, Period]]:
    piece = text[s:e]
    found = [(s + a, s + b, p) for a, b, p in find_periods(piece)]
    year = found[0][2].year if found else year
    if year is None:
        return found
    taken = [(a, b) for a, b, _ in found]

    def add(a: int, b: int, period: Period) -> None:
        if not any(a < y and x < b for x, y in taken):
            taken.append((a, b))
            found.append((a, b, period))

    for m in _BARE_SPAN.finditer(piece):
        add(s + m.start(), s + m.end(), Period.of_ytd(year, int(m["m"])))
    for m in _BARE_MONTH.finditer(piece):
        add(s + m.start(), s + m.end(), Period.of_month(year, int(m["m"])))
    for m in _BARE_QUARTER.finditer(piece):
        quarter = int(m["n"]) if m["n"] else "一二三四".index(m["q"]) + 1
        add(s + m.start(), s + m.end(), Period.of_quarter(year, quarter))
    return sorted(found, key=lambda row: row[0])


def _sentence(scene: Scene, text: str, s: int, e: int, state: _State) -> Iterator[Claim]:
    piece = text[s:e]
    if not any(c.isdigit() for c in piece):
        labels = list(scene.labels.find(piece))
        if labels and not labels[-1][2].startswith("@") and len(labels) == 1:
            state.item, state.label, state.entity = (
                labels[-1][2],
                piece[labels[-1][0] : labels[-1][1]],
                None,
            )
            state.here = False
        return
    labels = [(s + a, s + b, key) for a, b, key in scene.labels.find(piece)]
    year = (state.period or scene.period).year if (state.period or scene.period) else None  # type: ignore[union-attr]
    periods = _periods(text, s, e, year)
    fixed = [(a, b) for a, b, _ in labels] + [(a, b) for a, b, _ in periods]
    numbers = [
        n
        for n in (replace(n, start=n.start + s, end=n.end + s) for n in find_numbers(piece))
        if not any(a < n.end and n.start < b for a, b in fixed)
    ]
    claims: list[Claim] = []
    state.consumed = 0
    respectively = "values listed in order" if _RESPECTIVELY.search(piece) else ""
    before = s
    for index, number in enumerate(numbers):
        if is_operand(text, number):
            continue
        if is_counted(text, number):
            if number.unit != "plain":
                before = number.end
            continue
        follow = min(e, numbers[index + 1].start if index + 1 < len(numbers) else e)
        claim = _read(scene, text, number, before, follow, labels, periods, state)
        if claim is None:
            continue
        before = number.end
        doubt = respectively
        hypothetical = claim.basis != "budget" and lx.HYPOTHETICAL.search(text, s, number.end)
        if hypothetical:
            claim = replace(claim, doubt=NOT_A_FACT)
        if state.consumed > number.end:
            # "rose 14.7% to $10 million in 2019": the period at the end covers both.
            claims = [
                replace(c, period=claim.period, source="sentence")
                if c.source != "clause" and c.item == claim.item and c.entity == claim.entity
                else c
                for c in claims
            ]
        if not doubt and (
            claim.item in _BY_SEGMENT or claim.entity == state.line_entity is not None
        ):
            doubt = state.lead_doubt
        claims.append(replace(claim, doubt=claim.doubt or state.doubt or doubt))
    yield from claims


def _read(
    scene: Scene, text: str, number: Number, before: int, follow: int,
    labels: list[tuple[int, int, str]], periods: list[tuple[int, int, Period]], state: _State,
) -> Claim | None:  # fmt: skip
    gap_labels = [row for row in labels if before <= row[0] and row[1] <= number.start]
    aside = re.match(r"\s*\([^()]*\)", text[before : number.start]) if state.item else None
    if aside:
        # 51.09%（销售费用/营业收入），同比 ...: the bracket explains the number before it.
        gap_labels = [row for row in gap_labels if row[0] >= before + aside.end()]
    tail_start, prefix, per, doubt, direction_word = before, "", None, "", ""
    own = False
    entity = state.entity
    item, label = state.item, state.label
    after = text[number.end : follow]
    post = _post_label(text, number, labels)
    of = (
        re.match(r"\s*of\s+(?:the\s+|its\s+|our\s+|total\s+)?", after)
        if number.unit == "percent"
        else None
    )
    denominator = next((r for r in labels if of and r[0] == number.end + of.end()), None)
    if denominator is not None:
        per, post = denominator[2], None
    if gap_labels:
        own = True
        a, b, key = gap_labels[-1]
        previous = gap_labels[-2] if len(gap_labels) > 1 else None
        joint = text[previous[1] : a] if previous else ""
        if previous and re.fullmatch(r"\s*[/÷]\s*", joint):
            per, (a, _, key) = key, previous
        elif (previous or item) and _SHARE_OF.search(text[previous[1] if previous else before : a]) and not key.startswith("@"):  # fmt: skip
            if previous:
                per, (a, _, key) = key, previous
            else:
                per, key, own = key, item or "", False
        left = max((m.end() for m in _DELIMITER.finditer(text, before, a)), default=before)
        prefix = text[left:a]
        tail_start = b
        ahead = [row for row in gap_labels[:-1] if row[2].startswith("@") and not re.search(r"[，,；：:]", text[row[1] : a])]  # fmt: skip
        if key.startswith("@"):
            item, label, entity = None, key[1:], key[1:]
        elif ahead and per is None:
            item, label, entity = None, ahead[-1][2][1:], ahead[-1][2][1:]
            prefix = ""
        elif state.line_entity is not None and per is None:
            item, label, entity = None, state.line_entity, state.line_entity
        else:
            item, label, entity = key, text[a:b], None
        loose = next((row[2] for row in gap_labels[:-1] if row[2].startswith("@")), None)
        if item is not None and per is None and (loose or (state.entity and state.here)):
            doubt = f"may be about {(loose or state.entity or '').removeprefix('@')}"
    elif post is not None:
        own = True
        key, label, direction_word = post
        item, entity = (None, key[1:]) if key.startswith("@") else (key, None)
    tail = text[tail_start : number.start]
    known = items().get(item) if item else None
    if not own:
        rest = lx.leftover(scene.without_names(_no_formula(_no_periods(tail, tail_start, periods))))
        if rest:
            doubt = f"label not certain ({rest[:20]})"
        elif not state.here and not (lx.YOY.search(tail) or lx.MOM.search(tail)):
            doubt = "label from another sentence"
        doubt = doubt or state.item_doubt
    elif post is None or gap_labels:
        rest = lx.leftover(scene.without_names(_no_formula(_no_periods(tail, tail_start, periods))))
        ahead_rest = lx.leftover(
            scene.without_names(_no_periods(prefix, number.start, periods, prefix))
        )
        if entity is not None:
            rest, ahead_rest = (
                _NAME_WORDS.sub("", rest).strip(),
                _NAME_WORDS.sub("", ahead_rest).strip(),
            )
        if doubt:
            pass
        elif rest and per is None:
            doubt = f"words between label and number ({rest[:20]})"
        elif ahead_rest and per is None:
            doubt = f"words before the label ({ahead_rest[:20]})"
    kind, direction, kind_doubt = _kind(number, known, label, tail, direction_word, per)
    if kind is None:
        return None
    near = prefix + " " + tail
    basis, base = _basis(near, after, kind, state, own, known)
    attain = bool(lx.ATTAIN.search(tail)) and number.unit in {"percent", "plain"}
    if attain:
        kind, basis, direction, kind_doubt, doubt = (
            "ratio",
            "budget",
            None,
            "",
            _attain_doubt(doubt),
        )
    period, source, from_base = _period(
        text, number, before, tail_start, after, periods, state, kind
    )
    if from_base is not None:
        basis, base = ("base", from_base) if basis in {"", "base"} else (basis, base or from_base)
    region = text[before : number.start] if not own else near
    scope = _scope(region, state, attain)
    level = _FROM_LEVEL.search(text[before : number.start])
    if level and kind in {"value", "ratio"} and (period or scene.period):
        # "较年初 3,364 万元下降 11.15%": first the level compared with, then the change from it.
        current = period or scene.period
        assert current is not None
        what = level["what"]
        state.basis = (
            "opening"
            if "初" in what or "末" in what and "月" not in what
            else ("mom" if "月" in what or what == "上期" else "yoy")
        )
        period = current.previous() if state.basis == "mom" else current.year_ago()
        scope_then: Scope = "opening" if state.basis == "opening" else ""
        period = current if state.basis == "opening" else period
        state.here = state.here or own
        if own:
            state.item, state.label, state.entity, state.item_doubt = item, label, entity, doubt
        return Claim(
            start=number.start, end=number.end, text=scene.report[number.start : number.end],
            value=number.value, decimals=number.decimals, step=number.step, unit=number.unit,
            item=item, label=label, period=period, kind=kind, scope=scope_then, entity=entity,
            source="clause", hedge=_hedge(text, number), sign=number.sign,
            doubt=doubt or kind_doubt or ("" if item or entity else "no known label"),
        )  # fmt: skip
    if kind == "value" or kind == "ratio":
        shifted = _past(region, period or scene.period)
        if shifted is not None:
            period, source, basis = shifted, "clause", ""
    if per is not None and per == item:
        doubt = "a share of something unnamed"
    if lx.SHARE.search(tail) and per is None and not attain:
        doubt = doubt or "a share of something unnamed"
    value = _signed(number, kind, direction, known, label, region)
    state.item, state.label, state.entity = (item, label, entity) if per is None else (state.item or item, state.label or label, entity)  # fmt: skip
    state.here = state.here or own
    state.item_doubt = doubt
    state.period, state.source = (period, "sentence" if source == "clause" else source) if source == "clause" and not _past(region, period) else (state.period, state.source)  # fmt: skip
    state.scope = scope if scope in {"ytd", "period"} else state.scope
    state.basis = basis
    return Claim(
        start=number.start,
        end=number.end,
        text=scene.report[number.start : number.end],
        value=value,
        decimals=number.decimals,
        step=number.step,
        unit=number.unit,
        item=item,
        label=label,
        period=period,
        kind=kind,
        direction=direction,
        basis=basis,
        base=base,
        scope=scope,
        per=per,
        entity=entity,
        source=source,
        hedge=_hedge(text, number),
        doubt=doubt or kind_doubt or ("" if item or entity else "no known label"),
        sign=number.sign,
    )


def _attain_doubt(doubt: str) -> str:
    # 预算, 目标 and 达成率 are expected between label and number here.
    rest = re.sub(r"[^\u4e00-\u9fffA-Za-z]", "", doubt.partition("(")[2])
    return "" if not rest or re.fullmatch(r"(?:预算|目标|月度|年度|当月|达成|完成|进度|率|budget|of|attainment|completion)+", rest, re.I) else doubt  # fmt: skip


def _no_formula(tail: str) -> str:
    return tail.rpartition("=")[2] if "=" in tail else tail


def _no_periods(
    text: str, start: int, periods: list[tuple[int, int, Period]], exact: str | None = None
) -> str:
    if exact is not None:
        for _, _, _ in find_periods(exact):
            break
        pieces, last = [], 0
        for a, b, _ in find_periods(exact):
            pieces.append(exact[last:a])
            last = b
        rest = "".join([*pieces, exact[last:]])
        return _BARE_QUARTER.sub(" ", _BARE_MONTH.sub(" ", _BARE_SPAN.sub(" ", rest)))
    for a, b, _ in reversed(periods):
        if start <= a and b <= start + len(text):
            text = text[: a - start] + " " * (b - a) + text[b - start :]
    return text


def _post_label(
    text: str, number: Number, labels: list[tuple[int, int, str]]
) -> tuple[str, str, str] | None:
    rest = text[number.end : number.end + 40]
    for pattern in (_AFTER_LABEL_ZH, _AFTER_LABEL_EN):
        match = pattern.match(rest)
        if match:
            place = number.end + match.end()
            for a, b, key in labels:
                if a == place:
                    return key, text[a:b], (match.groupdict().get("dir") or "")
    return None


def _kind(
    number: Number, known: Item | None, label: str, tail: str, word: str, per: str | None
) -> tuple[ClaimKind | None, Literal["up", "down"] | None, str]:
    ups = [(m.start(), "up") for m in lx.UP.finditer(tail)] + [(0, "up")] * bool(
        word and lx.UP.search(word)
    )
    downs = [(m.start(), "down") for m in lx.DOWN.finditer(tail)] + [(0, "down")] * bool(
        word and lx.DOWN.search(word)
    )
    last = max(ups + downs, default=None)
    direction: Literal["up", "down"] | None = None
    if last is not None:
        direction = "up" if last[1] == "up" else "down"
    to = bool(last and lx.TO.search(tail, last[0] + 1)) and not _SIZE_WORD.search(tail)
    compared = bool(
        lx.YOY.search(tail)
        or lx.MOM.search(tail)
        or lx.OPENING.search(tail)
        or lx.RATE.search(tail)
    )
    plain = "ratio" if known and known.kind == "ratio" else "value"
    if per is not None:
        return "ratio", None, ""
    if number.unit == "pp":
        return (
            "change_pp",
            direction,
            "" if direction or number.sign else "points without a direction",
        )
    if number.unit == "percent":
        if known and known.unit in {"percent", "times"}:
            change = (bool(last) and not to) or (compared and not to)
            return ("change_pct", direction, "") if change else (plain, None, "")  # type: ignore[return-value]
        if last and to and not compared:
            return "change_pct", direction, "a level in percent of an amount"
        bare = not (last or compared or number.sign)
        return "change_pct", direction, "a bare percentage of an amount" if bare else ""
    if number.unit == "money" and _FROM_NUMBER.search(tail):
        return "value", None, ""
    if number.unit == "money":
        doubt = (
            "an amount for a ratio" if known and known.unit in {"percent", "times", "days"} else ""
        )
        if last and not to:
            return "change_abs", direction, doubt
        return "value", None, doubt
    if number.unit in {"times", "days"}:
        if known is None or known.unit != number.unit:
            return plain, None, "unit does not fit the label"  # type: ignore[return-value]
        if last and not to:
            return "change_abs", direction, ""
        return plain, None, ""  # type: ignore[return-value]
    if known is None and not (number.decimals or "," in number.digits):
        return None, None, ""
    if (
        known is not None
        and known.unit == "money"
        and not ("," in number.digits or number.decimals)
    ):
        return None, None, ""
    if (
        known is not None
        and known.unit != "money"
        and not number.decimals
        and len(number.digits) < 2
    ):
        return None, None, ""
    if last and not to:
        return "change_abs", direction, "a change without a unit"
    return plain, None, ""  # type: ignore[return-value]


def _basis(
    near: str, after: str, kind: ClaimKind, state: _State, own: bool, known: Item | None
) -> tuple[Basis, Period | None]:
    if kind not in {"change_pct", "change_pp", "change_abs"}:
        return "", None
    tag = _AFTER_BASIS.match(after)
    if tag:
        return (
            "yoy" if tag["b"].lower() in {"同比", "yoy"} or "year" in tag["b"].lower() else "mom"
        ), None
    places = [(m.start(), b) for p, b in ((lx.YOY, "yoy"), (lx.MOM, "mom"), (lx.OPENING, "opening")) for m in p.finditer(near)]  # fmt: skip
    if places:
        return max(places)[1], None  # type: ignore[return-value]
    if lx.YOY.search(after[:60]) and re.match(
        r"^[\s\w]{0,12}(?:from|compared|year|yoy)", after, re.I
    ):
        return "yoy", None
    return (state.basis if not own and state.basis in {"yoy", "mom", "opening"} else ""), None


def _period(
    text: str, number: Number, before: int, tail_start: int, after: str,
    periods: list[tuple[int, int, Period]], state: _State, kind: ClaimKind,
) -> tuple[Period | None, Source, Period | None]:  # fmt: skip
    subject: Period | None = None
    base: Period | None = None
    for a, b, period in periods:
        if max(before, state.consumed) <= a and b <= number.start:
            lead = text[max(0, a - 12) : a]
            if _FROM_BEFORE.search(lead) and kind in {"value", "ratio"}:
                subject = period
            elif _BASE_BEFORE.search(lead):
                base = period
            else:
                subject = period
    match = _AFTER_PERIOD.match(after)
    for a, b, period in periods:
        if number.end <= a <= number.end + 40 and b <= number.end + len(after) + 20:
            between = text[number.end : a]
            if match and subject is None and a - number.end <= match.end() + 1:
                subject = period
                match = None
                state.consumed = b
            elif re.fullmatch(r"(?:[\s,(]|in|for|(?:19|20)\d\d)*(?:compared (?:with|to)|from|versus|vs\.?|over|against)\s+(?:the\s+)?(?:fiscal\s+|year\s+)?", between, re.I):  # fmt: skip
                base = period
    if (
        subject is None
        and kind in {"value", "ratio"}
        and _FROM_NUMBER.search(text[before : number.start])
    ):
        # "rose from 10 to 12 million": where the first number stood before.
        return (state.period.year_ago() if state.period else None), "", base
    if subject is not None:
        return subject, "clause", base
    return state.period, state.source, base


def _past(region: str, period: Period | None) -> Period | None:
    """The earlier period a value belongs to when the words name it (去年同期为 ...)."""
    if period is None:
        return None
    for pattern, shift in ((lx.PAST, period.year_ago), (lx.PAST_MONTH, period.previous)):
        match = None
        for match in pattern.finditer(region):
            pass
        if match and not re.search(r"(?:较|比|与|相较|于|with|to|than|over|from)\s*(?:the\s+)?$", region[: match.start()], re.I):  # fmt: skip
            return shift()
    return None


def _scope(region: str, state: _State, attain: bool) -> Scope:
    if lx.BENCHMARK.search(region):
        return "benchmark"
    if lx.BUDGET.search(region) and not attain:
        return "budget"
    if lx.YTD.search(region):
        return "ytd"
    if lx.SINGLE.search(region):
        return "period"
    return state.scope


def _signed(
    number: Number,
    kind: ClaimKind,
    direction: str | None,
    known: Item | None,
    label: str,
    region: str,
) -> float:
    size = abs(number.value)
    if number.sign in {"-", "("}:
        return -size
    if kind in {"change_pct", "change_pp", "change_abs"}:
        return -size if direction == "down" and number.sign != "+" else size
    signed = known is not None and known.key in CAN_BE_NEGATIVE
    if signed and number.sign == "" and (lx.LOSS.search(label) or lx.LOSS.search(region)):
        return -size
    return number.value


def _hedge(text: str, number: Number) -> Literal["", "about", "over", "under"]:
    before = text[max(0, number.start - 16) : number.start]
    if lx.ABOUT.search(before):
        return "about"
    if lx.OVER.search(before):
        return "over"
    return "under" if lx.UNDER.search(before) else ""
