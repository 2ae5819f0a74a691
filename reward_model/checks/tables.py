"""Tables in a text (Markdown, HTML, CSV) with the headings, captions and units around them.

Every cell keeps its offsets in the original text. HTML is flattened first, so that one reader
serves both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from reward_model.checks.flatten import COL, ROW, TABLE_END, flatten
from reward_model.checks.numbers import parse_number
from reward_model.checks.units import currency_in, scale_around, scale_in


class Cell(NamedTuple):
    """One cell: its text without blanks around it, and where that text is."""

    text: str
    start: int
    end: int


@dataclass(slots=True)
class Table:
    """One table and what stands around it."""

    rows: list[list[Cell]]
    """All rows, header rows first; rows may differ in length."""
    header: int
    """How many of them are header rows."""
    headings: tuple[str, ...] = ()
    """Headings above it, outermost first."""
    caption: str = ""
    """The lines of text between it and the heading or table before it."""
    scale: float | None = None
    """Base units of money per shown unit, from a unit line, caption, heading or header cell;
    None where none is stated."""
    currency: str = ""
    """ISO code where one is named."""
    start: int = 0
    """Offset of the table in the text."""
    end: int = 0
    """Offset after it."""
    fenced: bool = False
    """Whether it stands in a code fence, as samples in instructions do."""
    columns: list[str] = field(default_factory=list)
    """One joined header text a column."""


_HEADING = re.compile(r"^ {0,6}(#{1,6})\s*(.+?)\s*#*\s*$")
_SEPARATOR = re.compile(r"^\s*\|?[\s:|-]*-[\s:|-]*$")


_EDGES = " \t*`\r" + COL + ROW


def _cells(line: str, offset: int) -> list[Cell]:
    """Split a row at its pipes; the one before the first cell and after the last are edges."""
    parts = line.split("|")
    cells: list[Cell] = []
    place = offset
    first = 1 if not parts[0].strip() else 0
    last = len(parts) - 1 if len(parts) > 1 and not parts[-1].strip() else len(parts)
    spanned = COL in line
    for i, part in enumerate(parts):
        if first <= i < last:
            text = part.strip(_EDGES)
            start = place + (part.find(text) if text else 0)
            cells.append(Cell(text, start, start + len(text)))
            if spanned and COL in part:
                cells.extend(Cell("", place, place) for _ in range(part.count(COL)))
        place += len(part) + 1
    return cells


_YEARISH = re.compile(r"^\D{0,12}(?:19|20)\d{2}\D{0,12}$|^(?:19|20)\d{4}$|^\d{1,2}月$")
_HEADER_WORD = re.compile(r"^(?:期间编码|期间|period|报告年份|年份|year|日期|date)$", re.I)


def is_data(cell: str) -> bool:
    """Whether a cell holds a figure rather than a year or words."""
    if not cell or not any(c.isdigit() for c in cell):
        return False
    return not _YEARISH.match(cell) and parse_number(cell) is not None


def _count_header(rows: list[list[Cell]], separator: int | None) -> int:
    """Header rows: those before the first row that holds a figure beyond its first cell."""
    for i, row in enumerate(rows[:5]):
        if any(is_data(cell.text) for cell in row[1:]) or (i and len(row) == 1):
            return max(i, separator or 0) if i or separator else 0
        if i and i >= (separator or 0) and row and row[0].text and not any(c.text for c in row[1:]):
            return i
        if i and separator and i >= separator and row[0].text and not _YEARISH.match(row[0].text):
            return i
    return separator or min(1, len(rows))


def _join_columns(rows: list[list[Cell]]) -> list[str]:
    """One text a column; a header cell stretches over the empty cells to its right."""
    width = max((len(r) for r in rows), default=0)
    columns = [""] * width
    for depth, row in enumerate(rows):
        carried, deeper = "", depth + 1 < len(rows)
        for j in range(width):
            text = row[j].text if j < len(row) else ""
            if text:
                carried = text
            elif deeper and j:
                text = carried
            if text and text not in columns[j]:
                columns[j] = f"{columns[j]} {text}".strip()
        if depth and deeper is False and sum(bool(c.text) for c in row) == 1 and width > 2:
            # "(in millions)" alone on a header line speaks for all columns.
            alone = next(c.text for c in row if c.text)
            columns = [c if alone in c else f"{c} {alone}".strip() for c in columns]
    return columns


def _header_scale(rows: list[list[Cell]], header: int) -> float | None:
    """The scale that the header cells state, or a line without figures under them; None where
    they state none or several."""
    above = [c.text for row in rows[:header] for c in row]
    below = [
        c.text
        for row in rows[header : header + 2]
        if not any(is_data(c.text) for c in row)
        for c in row
    ]
    found = {scale_in(text) for text in (*above, *below) if text and not is_data(text)} - {None}
    return found.pop() if len(found) == 1 else None


class Block(NamedTuple):
    """The raw lines of one table with what stands around it; equal raw text, equal reading."""

    lines: list[tuple[int, str]]
    """Offset and text of each line."""
    comma: bool
    """Whether it is separated by commas or tabs instead of pipes."""
    headings: tuple[str, ...]
    """As in `Table`."""
    caption: str
    """As in `Table`."""
    scale: float | None
    """As in `Table`, from the lines around it alone."""
    currency: str
    """As in `Table`."""
    fenced: bool
    """As in `Table`."""

    @property
    def key(self) -> tuple[str, bool, tuple[str, ...], str, float | None, str]:
        """What the reading depends on, offsets apart."""
        raw = "\n".join(line for _, line in self.lines)
        return (raw, self.comma, self.headings, self.caption, self.scale, self.currency)

    def table(self) -> Table | None:
        """The table, or None where the lines are none after all."""
        separator: int | None = None
        rows: list[list[Cell]] = []
        if self.comma:
            delimiter = "\t" if "\t" in self.lines[0][1].strip() else ","
            rows = [_csv_cells(line, offset, delimiter) for offset, line in self.lines]
            header = 1
        else:
            for offset, line in self.lines:
                if separator is None and rows and _SEPARATOR.match(line):
                    separator = len(rows)
                elif line.strip(" |\t\r"):
                    rows.append(_cells(line, offset))
            if len(rows) < 2 and not (rows and any(is_data(c.text) for c in rows[0][1:])):
                return None
            if any(ROW in line for _, line in self.lines):
                _spread_rows(rows, self.lines)
            header = _count_header(rows, separator)
        columns = _join_columns(rows[:header])
        corner = _header_scale(rows, header)
        return Table(
            rows=rows,
            header=header,
            headings=self.headings,
            caption=self.caption,
            scale=corner or self.scale,
            currency=currency_in(self.caption) or self.currency,
            start=self.lines[0][0],
            end=self.lines[-1][0] + len(self.lines[-1][1]),
            fenced=self.fenced,
            columns=columns,
        )


def _spread_rows(rows: list[list[Cell]], lines: list[tuple[int, str]]) -> None:
    """Repeat cells that span several rows."""
    kept = [line for _, line in lines if line.strip(" |\t\r") and not _SEPARATOR.match(line)]
    for i, line in enumerate(kept[: len(rows)]):
        parts = line.split("|")[1:]
        for j, part in enumerate(parts):
            for k in range(part.count(ROW)):
                if i + 1 + k < len(rows) and j < len(rows[i]):
                    rows[i + 1 + k].insert(j, rows[i][j])


_UNIT_HINT = re.compile(
    r"单位|元[，,)）列表呈计]|units?\b|\bin\s|amounts|thousand|million|billion|000", re.I
)


@dataclass(slots=True)
class _Context:
    """What the lines read so far say about the next table."""

    stack: list[tuple[int, str]] = field(default_factory=list)
    units: list[tuple[int, float]] = field(default_factory=list)
    caption: str = ""
    currency: str = ""
    fenced: bool = False

    def block(self, lines: list[tuple[int, str]], *, comma: bool = False, after: str = "") -> Block:
        """A table found here, with the line after it; it uses up the caption."""
        caption, self.caption = self.caption[-400:], ""
        scale = self.units[-1][1] if self.units else None
        if scale is None and len(after) < 120 and ("(" in after or "单位" in after):
            scale = scale_around(after)
        headings = tuple(h for _, h in self.stack)
        return Block(lines, comma, headings, caption, scale, self.currency, self.fenced)

    def heading(self, level: int, text: str) -> None:
        while self.stack and self.stack[-1][0] >= level:
            self.stack.pop()
        while self.units and self.units[-1][0] >= level:
            self.units.pop()
        self.stack.append((level, text))
        self.caption = ""
        self.unit(text)

    def unit(self, text: str) -> None:
        # A unit line speaks for its section, not for the sections after it.
        scale = scale_around(text)
        if scale is not None:
            level = self.stack[-1][0] if self.stack else 0
            if self.units and self.units[-1][0] == level:
                self.units.pop()
            self.units.append((level, scale))
            self.currency = currency_in(text) or self.currency

    def line(self, text: str) -> None:
        if text.startswith("```"):
            self.fenced = not self.fenced
            return
        self.caption = f"{self.caption}\n{text}" if self.caption else text
        if _UNIT_HINT.search(text):
            self.unit(text)


def _csv_cells(line: str, offset: int, delimiter: str) -> list[Cell]:
    cells, place, start, quoted = [], offset, offset, False
    for char in line + delimiter:
        if char == '"':
            quoted = not quoted
        elif char == delimiter and not quoted:
            raw = line[start - offset : place - offset]
            text = raw.strip().strip('"').strip()
            lead = raw.find(text) if text else 0
            cells.append(Cell(text, start + lead, start + lead + len(text)))
            start = place + 1
        place += 1
    return cells


def _csv_end(lines: list[tuple[int, str]], i: int) -> int:
    """Where a comma- or tab-separated block that starts at line `i` ends; `i` where none does."""
    first = lines[i][1]
    delimiter = "\t" if "\t" in first.strip() else ","
    if "。" in first or "，" in first or len(first) > 3000:
        return i
    width, j = 0, i
    for offset, line in lines[i:]:
        if delimiter not in line or "|" in line:
            break
        cells = _csv_cells(line, offset, delimiter)
        if width and (len(cells) != width or not any(is_data(c.text) for c in cells[1:])):
            break
        if not width and any(len(c.text) > 60 for c in cells):
            return i
        width = len(cells)
        j += 1
    return j if j - i >= 2 else i


def read_tables(text: str, *, flat: bool = False, csv: bool = True) -> Iterator[Table]:
    """The tables of a text in order. `flat`: the text went through `flatten` already.

    >>> text = "单位：万元\\n| 项目 | 2021年 |\\n|---|---|\\n| 营业收入 | 1,200 |"
    >>> table = next(read_tables(text))
    >>> table.columns, table.rows[1][1].text, table.scale
    (['项目', '2021年'], '1,200', 10000.0)
    """
    for block in read_blocks(text if flat else flatten(text), csv=csv):
        table = block.table()
        if table is not None:
            yield table


def read_blocks(text: str, *, csv: bool = True) -> Iterator[Block]:
    """The tables of a flattened text, not yet split into cells."""
    lines: list[tuple[int, str]] = []
    offset = 0
    for line in text.split("\n"):
        lines.append((offset, line))
        offset += len(line) + 1
    context = _Context()
    i = 0
    while i < len(lines):
        line = lines[i][1]
        if "|" in line and (line.lstrip().startswith("|") or _is_loose(lines, i)):
            j = i + 1
            while j < len(lines) and (
                "|" in lines[j][1] or (not lines[j][1].strip() and _goes_on(lines, j))
            ):
                j += 1
            after = next((row[1] for row in lines[j : j + 3] if row[1].strip()), "")
            yield context.block(
                [row for row in lines[i:j] if row[1].strip()],
                after="" if "|" in after or after.lstrip().startswith("#") else after,
            )
            i = j
            continue
        stripped = line.strip(" \t\r" + TABLE_END)
        if stripped:
            match = _HEADING.match(line) if "#" in line else None
            if match:
                context.heading(len(match[1]), match[2].strip("* "))
            elif csv and ("," in stripped or "\t" in stripped) and (j := _csv_end(lines, i)) > i:
                yield context.block(lines[i:j], comma=True)
                i = j
                continue
            else:
                context.line(stripped)
        i += 1


def _is_loose(lines: list[tuple[int, str]], i: int) -> bool:
    """A row without outer pipes, known by the rule under it."""
    return i + 1 < len(lines) and "|" in lines[i + 1][1] and bool(_SEPARATOR.match(lines[i + 1][1]))


def _goes_on(lines: list[tuple[int, str]], j: int) -> bool:
    """Blank lines between the rows of a rewritten HTML table do not end it."""
    k = j
    while k < len(lines) and not lines[k][1].strip():
        k += 1
    return (
        k < len(lines) and k - j <= 6 and lines[k][1][:1] in {" ", "|"} and _starts_row(lines[k][1])
    )


def _starts_row(line: str) -> bool:
    return (
        line.lstrip().startswith("|") and line.rstrip().endswith("|") and not line.startswith("|")
    )
