"""Claims in the tables of a report: the row gives the item, the column the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from reward_model.checks import lexicon as lx
from reward_model.checks.claims import Claim
from reward_model.checks.columns import Header, Measure, Scope, read_header
from reward_model.checks.items import Item, items
from reward_model.checks.kinds import Basis, ClaimKind, Direction, Source
from reward_model.checks.numbers import Number, find_numbers, parse_number
from reward_model.checks.periods import Period, find_periods, parse_period
from reward_model.checks.prose import line_claims
from reward_model.checks.scene import Scene, is_counted, is_operand
from reward_model.checks.subject import State
from reward_model.checks.tables import Cell, Table, is_data

_VALUE_COLUMN = re.compile(
    r"^(?:实际|金额|数值|本期|本月|本年|当前|当期|公司|现值|指标值|值|实际值|单月|"
    r"发生|期末|余额|累计|value|actual|amount|current|company|result|level)",
    re.I,
)
_OTHER_COLUMN = re.compile(
    r"差异|偏差|差距|影响|贡献|评价|评级|状态|等级|得分|权重|概率|分位|排名|占比|"
    r"比重|占|变动原因|说明|备注|优先|风险|目标|gap|diff|impact|contribution|score|"
    r"weight|rating|rank|comment|note|share|% of",
    re.I,
)


def cell_claims(table: Table, scene: Scene) -> Iterator[Claim]:
    """The claims of one table, row by row."""
    headers = [read_header(c) for c in table.columns]
    title = table.headings[-1] if table.headings else ""
    doubt = (
        "under a heading about the future"
        if any(lx.HYPOTHETICAL_HEADING.search(h) for h in table.headings)
        else ""
    )
    around, source = _around(table, scene, headers)
    latest = max((h.period for h in headers if h.period), default=None)
    soft: Scope = "ytd" if lx.YTD.search(f"{title} {table.caption[-40:]}") else ""
    body = table.rows[table.header :]
    for row in body:
        subject = _subject(row, scene)
        if subject is None:
            continue
        at, item, label, entity, row_period, row_header = subject
        for j, cell in enumerate(row):
            if j == at or not any(c.isdigit() for c in cell.text):
                continue
            header = headers[j] if j < len(headers) else None
            whole = parse_number(cell.text)
            numbers = (
                [whole]
                if whole
                else [
                    n
                    for n in find_numbers(cell.text)
                    if not is_counted(cell.text, n) and not is_operand(cell.text, n)
                ]
            )
            if not numbers or (header and header.role in {"period", "code"}):
                continue
            column_item = header.item if header and header.item and item is None else None
            stranger = ""
            if column_item is not None and entity is None and row_period is None:
                rest = lx.leftover(scene.without_names(row_header.text if row_header else label))
                benchmark = "benchmark" if lx.BENCHMARK.search(label) else ""
                stranger = (
                    f"row {label[:20]!r} is not the company" if rest and not benchmark else ""
                )
            known = items().get(item) if item else column_item
            if len(numbers) > 1 or len(lx.leftover(cell.text)) > 12:
                state = State(
                    item=known.key if known and entity is None else None,
                    label=label,
                    entity=entity,
                    period=row_period or (header.period if header else None) or latest or around,
                    source="sentence",
                    scope=soft,
                    doubt=doubt,
                    here=True,
                )
                for said in line_claims(scene, scene.clean, cell.start, cell.end, state):
                    yield replace(said, cell=True)
                continue
            claim = _cell(
                scene,
                cell,
                numbers[0],
                header,
                row_header,
                table,
                known,
                label,
                entity,
                doubt or stranger,
                soft,
            )
            if claim is None:
                continue
            period, found = _cell_period(header, row_period, latest, around, source, claim.kind)
            yield replace(claim, period=period, source=found)


def _around(table: Table, scene: Scene, headers: list[Header]) -> tuple[Period | None, Source]:
    for text in (table.caption[-80:], *reversed(table.headings[-2:])):
        found = {p for *_, p in find_periods(text)}
        if len(found) == 1:
            return next(iter(found)), "heading"
    return scene.period, "report" if scene.period else ""


def _subject(
    row: list[Cell], scene: Scene
) -> tuple[int, str | None, str, str | None, Period | None, Header | None] | None:
    """Place, item, label, entity, period of the row; None for a row that says nothing."""
    texts = [(j, c) for j, c in enumerate(row) if c.text and not is_data(c.text)]
    for j, cell in texts[:3]:
        header = read_header(cell.text)
        if header.item is not None:
            return j, header.item.key, cell.text, None, None, header
    for j, cell in texts[:2]:
        found = [k for a, b, k in scene.labels.find(cell.text) if b - a >= 0.6 * len(cell.text)]
        if found and found[0].startswith("@"):
            return j, None, found[0][1:], found[0][1:], None, None
    if not texts or texts[0][0] != 0:
        return None
    j, cell = texts[0]
    period = parse_period(cell.text) if len(cell.text) < 16 else None
    return j, None, cell.text, None, period, None if period else read_header(cell.text)


def _cell_period(
    header: Header | None,
    row_period: Period | None,
    latest: Period | None,
    around: Period | None,
    source: Source,
    kind: ClaimKind,
) -> tuple[Period | None, Source]:
    if row_period is not None:
        return row_period, "clause"
    if header is not None and header.period is not None:
        return header.period, "clause"
    if header is not None and latest is None and around is not None:
        if lx.PAST.search(header.text) and header.measure == "value":
            return around.year_ago(), "clause"
        if lx.PAST_MONTH.search(header.text) and header.measure == "value":
            return around.previous(), "clause"
    if (
        header is not None
        and latest is not None
        and header.measure == "value"
        and lx.PAST.search(header.text)
    ):
        return latest.year_ago(), "clause"
    if latest is not None and kind.startswith("change"):
        return latest, "heading"
    return around, source


def _cell(
    scene: Scene,
    cell: Cell,
    number: Number,
    header: Header | None,
    row: Header | None,
    table: Table,
    known: Item | None,
    label: str,
    entity: str | None,
    doubt: str,
    soft: Scope,
) -> Claim | None:
    text = header.text if header else ""
    start, end = cell.start + number.start, cell.start + number.end
    direction: Direction = None
    if lx.UP.search(cell.text):
        direction = "up"
    elif lx.DOWN.search(cell.text):
        direction = "down"
    if entity and known:
        known = None
    measure = header.measure if header else "value"
    if row is not None and row.measured and measure == "value":
        measure = row.measure
    rate_label = bool(row and known and known.unit != "percent" and lx.RATE.search(row.text))
    attain = bool(lx.ATTAIN.search(text))
    scope: Scope = header.scope if header else ""
    scope = scope or (row.scope if row and row.item else "") or soft
    if attain:
        scope = soft
    unit, scale = number.unit, 1.0
    plain: ClaimKind = "ratio" if known and known.kind == "ratio" else "value"
    kind: ClaimKind = plain
    basis: Basis = ""
    if number.unit == "pp":
        kind = "change_pp"
        basis = _basis_of(measure)
    elif attain:
        kind, basis = "ratio", "budget"
    elif measure in {"yoy", "mom", "change"} or rate_label:
        basis = _basis_of(measure)
        kind = "change_pct"
        if number.unit == "money" or (number.unit == "plain" and not (header and header.percent)):
            kind = "change_abs"
        elif number.unit == "plain":
            unit, scale = "percent", 0.01
    elif measure in {"yoy_abs", "mom_abs", "change_abs"}:
        kind = "change_abs"
        basis = _basis_of(measure)
    if kind == plain and direction and number.unit == "percent":
        kind = "change_pct"
    if kind == plain and number.unit == "percent" and known and known.unit == "money":
        kind = "change_pct"
        doubt = doubt or "a percentage in a column of amounts"
    if number.unit == "plain" and kind in {"value", "change_abs", "ratio"} and known:
        stated = (row.scale if row else None) or (header.scale if header else None)
        if known.unit == "money" and (stated or table.scale not in {None, 1.0}):
            unit, scale = "money", stated or table.scale or 1.0
        elif known.unit == "percent" and (
            (header and header.percent) or (row and row.percent) or abs(number.value) > 1.5
        ):
            unit, scale = "percent", 0.01
        elif known.unit == "money" and not (
            number.decimals or "," in number.digits or len(number.digits) > 3
        ):
            return None
    if not doubt and kind in {"value", "ratio"} and basis != "budget" and header is not None:
        fits = (
            header.period
            or header.scope
            or header.item
            or _VALUE_COLUMN.match(header.label)
            or lx.PAST.search(text)
            or lx.PAST_MONTH.search(text)
            or any(n in text for n in scene.names)
        )
        if _OTHER_COLUMN.search(text) or header.measure == "share":
            doubt = f"column {text[:20]!r} is not the item itself"
        elif not fits:
            doubt = f"column {text[:20]!r} is not known"
    elif not doubt and _OTHER_COLUMN.search(text) and not attain:
        doubt = f"column {text[:20]!r} is not the item itself"
    if known is None and entity is None:
        doubt = doubt or "no known label"
    value = number.value * scale
    if direction == "down" and kind.startswith("change") and number.sign == "":
        value = -abs(value)
    folded = scene.clean
    return Claim(
        start=start,
        end=end,
        text=scene.report[start:end],
        value=value,
        decimals=number.decimals,
        step=number.step * scale,
        unit=unit,
        item=known.key if known else None,
        label=label,
        period=None,
        kind=kind,
        direction=direction if kind.startswith("change") else None,
        basis=basis,
        scope=scope,
        entity=entity,
        hedge="about" if lx.ABOUT.search(folded[cell.start : start]) else "",
        doubt=doubt,
        cell=True,
        sign=number.sign,
    )


def _basis_of(measure: Measure) -> Basis:
    if measure in {"yoy", "yoy_abs"}:
        return "yoy"
    return "mom" if measure in {"mom", "mom_abs"} else ""
