"""Claims in the tables of a report: the row gives the item, the column the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from reward_model.checks import lexicon as lx
from reward_model.checks.claims import Claim
from reward_model.checks.columns import Header, Scope, read_header
from reward_model.checks.items import Item, items
from reward_model.checks.kinds import ClaimKind, Source
from reward_model.checks.numbers import Number, find_numbers, parse_number
from reward_model.checks.onecell import Spot, claim_of
from reward_model.checks.periods import Period, find_periods, parse_period
from reward_model.checks.prose import line_claims
from reward_model.checks.scene import Scene, is_counted, is_operand
from reward_model.checks.subject import State
from reward_model.checks.tables import Cell, Table, is_data


class _Sheet(NamedTuple):
    """What all cells of a table share."""

    table: Table
    scene: Scene
    headers: list[Header]
    doubt: str
    around: Period | None
    source: Source
    latest: Period | None
    """The latest period of a column."""
    soft: Scope
    """A scope that title or caption suggest."""


class _Line(NamedTuple):
    """What a row is about."""

    at: int
    """Which cell holds the label."""
    item: str | None
    label: str
    entity: str | None
    period: Period | None
    header: Header | None


def cell_claims(table: Table, scene: Scene) -> Iterator[Claim]:
    """The claims of one table, row by row."""
    headers = [read_header(c) for c in table.columns]
    title = table.headings[-1] if table.headings else ""
    future = any(lx.HYPOTHETICAL_HEADING.search(h) for h in table.headings)
    around, source = _around(table, scene)
    sheet = _Sheet(
        table=table,
        scene=scene,
        headers=headers,
        doubt="under a heading about the future" if future else "",
        around=around,
        source=source,
        latest=max((h.period for h in headers if h.period), default=None),
        soft="ytd" if lx.YTD.search(f"{title} {table.caption[-40:]}") else "",
    )
    for row in table.rows[table.header :]:
        line = _subject(row, scene)
        if line is None:
            continue
        for j, cell in enumerate(row):
            if j != line.at and any(c.isdigit() for c in cell.text):
                yield from _cell(sheet, line, j, cell)


def _cell(sheet: _Sheet, line: _Line, j: int, cell: Cell) -> Iterator[Claim]:
    """The claims of one cell: one number, or prose with several."""
    header = sheet.headers[j] if j < len(sheet.headers) else None
    numbers = _numbers(cell)
    if not numbers or (header and header.role in {"period", "code"}):
        return
    column_item = header.item if header and header.item and line.item is None else None
    known = items().get(line.item) if line.item else column_item
    if len(numbers) > 1 or len(lx.leftover(cell.text)) > 12:
        yield from _said(sheet, line, header, known, cell)
        return
    spot = Spot(
        scene=sheet.scene,
        table=sheet.table,
        cell=cell,
        number=numbers[0],
        header=header,
        row=line.header,
        known=None if line.entity and known else known,
        label=line.label,
        entity=line.entity,
        doubt=sheet.doubt or _stranger(sheet.scene, line, column_item),
        soft=sheet.soft,
    )
    claim = claim_of(spot)
    if claim is not None:
        period, found = _period(sheet, line, header, claim.kind)
        yield replace(claim, period=period, source=found)


def _numbers(cell: Cell) -> list[Number]:
    whole = parse_number(cell.text)
    if whole:
        return [whole]
    return [
        n
        for n in find_numbers(cell.text)
        if not is_counted(cell.text, n) and not is_operand(cell.text, n)
    ]


def _said(
    sheet: _Sheet, line: _Line, header: Header | None, known: Item | None, cell: Cell
) -> Iterator[Claim]:
    """A cell that holds words: read like a line of prose about the row's item."""
    state = State(
        item=known.key if known and line.entity is None else None,
        label=line.label,
        entity=line.entity,
        period=line.period or (header.period if header else None) or sheet.latest or sheet.around,
        source="sentence",
        scope=sheet.soft,
        doubt=sheet.doubt,
        here=True,
    )
    for said in line_claims(sheet.scene, sheet.scene.clean, cell.start, cell.end, state):
        yield replace(said, cell=True)


def _stranger(scene: Scene, line: _Line, column_item: Item | None) -> str:
    """The doubt of a column's item in the row of somebody else than the company."""
    if column_item is None or line.entity is not None or line.period is not None:
        return ""
    rest = lx.leftover(scene.without_names(line.header.text if line.header else line.label))
    benchmark = bool(lx.BENCHMARK.search(line.label))
    return f"row {line.label[:20]!r} is not the company" if rest and not benchmark else ""


def _around(table: Table, scene: Scene) -> tuple[Period | None, Source]:
    for text in (table.caption[-80:], *reversed(table.headings[-2:])):
        found = {p for *_, p in find_periods(text)}
        if len(found) == 1:
            return next(iter(found)), "heading"
    return scene.period, scene.period_source


def _subject(row: list[Cell], scene: Scene) -> _Line | None:
    """What a row is about; None for a row that says nothing."""
    texts = [(j, c) for j, c in enumerate(row) if c.text and not is_data(c.text)]
    for j, cell in texts[:3]:
        header = read_header(cell.text)
        if header.item is not None:
            return _Line(j, header.item.key, cell.text, None, None, header)
    for j, cell in texts[:2]:
        found = [k for a, b, k in scene.labels.find(cell.text) if b - a >= 0.6 * len(cell.text)]
        if found and found[0].startswith("@"):
            return _Line(j, None, found[0][1:], found[0][1:], None, None)
    if not texts or texts[0][0] != 0:
        return None
    j, cell = texts[0]
    period = parse_period(cell.text) if len(cell.text) < 16 else None
    return _Line(j, None, cell.text, None, period, None if period else read_header(cell.text))


def _period(
    sheet: _Sheet, line: _Line, header: Header | None, kind: ClaimKind
) -> tuple[Period | None, Source]:
    """The period of a cell: of its row, of its column, else what stands around the table."""
    latest, around = sheet.latest, sheet.around
    if line.period is not None:
        return line.period, "clause"
    if header is not None and header.period is not None:
        return header.period, "clause"
    if header is not None and header.measure == "value":
        # A column 上年同期 without a date counts from the latest column, or the period around.
        known = latest or around
        if known is not None and lx.PAST.search(header.text):
            return known.year_ago(), "clause"
        if latest is None and around is not None and lx.PAST_MONTH.search(header.text):
            return around.previous(), "clause"
    if latest is not None and kind.startswith("change"):
        return latest, "heading"
    return around, sheet.source
