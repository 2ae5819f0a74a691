"""A CSV file as people and spreadsheets write it: any separator, any decimal mark, never a guess.

`rows(path)` gives header and rows with their lines; `Numbers(cells)` finds the decimal mark from
all numbers of the file and reads each; what can be read in two ways is refused with its line.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from reward_model.records import UserError, read_text

SEPARATORS = (",", ";", "\t", "|")
MISSING = {
    "",
    "-",
    "—",
    "--",
    "——",
    "–",
    "n/a",
    "na",
    "nan",
    "null",
    "none",
    "#n/a",
    "不适用",
    "无",
}
"""A cell without a figure, in lower case."""

_SPACES = re.compile(r"[\s\u00a0\u2009\u202f']")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.I)
_GROUPS = {mark: re.compile(rf"\d{{1,3}}({re.escape(mark)}\d{{2,3}})*{re.escape(mark)}\d{{3}}")
           for mark in ",."}  # fmt: skip


class SheetRow(NamedTuple):
    """One row of the file."""

    line: int
    """1-based, where it begins."""
    cells: list[str]


def rows(path: Path, wanted: Iterable[str]) -> tuple[str, list[str], list[SheetRow]]:
    """Separator, header and rows; rows without any text are left out.

    Args:
        wanted: columns that tell the separator by standing in the header.

    Raises:
        UserError: no such header, a row of another length, or a quote that is never closed.
    """
    text = read_text(path)
    skipped = 0
    if named := re.match(r"sep=(.)\r?\n", text):  # a spreadsheet's own first line
        text, skipped = text[named.end() :], 1
    first = text.lstrip().partition("\n")[0]
    separator = named[1] if named else max(SEPARATORS, key=lambda one: _found(first, one, wanted))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    found: list[SheetRow] = []
    line = skipped + 1
    try:
        for cells in reader:
            start, line = line, skipped + reader.line_num + 1
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if not header:
                header = stripped
                continue
            while len(stripped) > len(header) and not stripped[-1]:
                stripped.pop()
            if len(stripped) != len(header):
                raise UserError(
                    f"a row of {len(stripped)} cells",
                    expected=f"{len(header)}, as the header has",
                    mend="a figure that is not there is an empty cell; quote cells with commas",
                    path=path,
                    line=start,
                )
            found.append(SheetRow(start, stripped))
    except csv.Error as error:
        raise UserError(
            f"a broken row ({error})", expected="CSV", mend="look for a quote that is not closed",
            path=path, line=line,
        ) from None  # fmt: skip
    return separator, header, found


def _found(header: str, separator: str, wanted: Iterable[str]) -> int:
    names = {name.strip().strip('"') for name in header.split(separator)}
    return len(names & set(wanted))


class Numbers:
    """The decimal mark of a file, found from all its numbers.

    Args:
        cells: line and text of every cell that should be a number.
        path: for messages.
        certain: a number that can be read in two ways, and no other that tells, has a decimal
            point, as `1,234` in a file separated by commas; else it is refused.

    Raises:
        UserError: numbers of one file that contradict each other.
    """

    def __init__(self, cells: Iterable[tuple[int, str]], path: Path, *, certain: bool) -> None:
        self._path, self._certain = path, certain
        self.mark = ""
        """`.` or `,`; empty where no number tells."""
        where = (0, "")
        for line, text in cells:
            mark = decimal_mark(text)
            if mark and self.mark and mark != self.mark:
                raise UserError(
                    f"{text!r}, whose decimal mark is {mark!r}, after {where[1]!r} on line "
                    f"{where[0]} with {self.mark!r}",
                    expected="one decimal mark in the whole file",
                    path=path,
                    line=line,
                )
            if mark:
                self.mark, where = mark, (line, text)

    def read(self, text: str, column: str, line: int) -> float | None:
        """A number, None where there is none.

        Raises:
            UserError: it is no number, not finite, or can be read in two ways.
        """
        if text.lower() in MISSING:
            return None
        plain, sign = _plain(text)
        if not self.mark and not self._certain and _ambiguous(plain):
            raise UserError(
                f"{text!r} in column {column}, which may be {plain.replace(',', '.')} or "
                f"{re.sub('[.,]', '', plain)}",
                expected="a number that can be read in one way",
                mend="write it without thousands separators, with a decimal point",
                path=self._path,
                line=line,
            )
        mark = self.mark or "."
        other = "," if mark == "." else "."
        whole, dot, rest = plain.partition(mark)
        if other in whole and _GROUPS[other].fullmatch(whole.lstrip("+-")):
            whole = whole.replace(other, "")
        number = f"{whole}{'.' if dot else ''}{rest}"
        if _NUMBER.fullmatch(number) and math.isfinite(value := sign * float(number)):
            return value
        raise UserError(
            f"{text!r} in column {column}", expected="a number", path=self._path, line=line
        )


def decimal_mark(text: str) -> str:
    """The decimal mark that a number cannot be read without; empty where it can.

    >>> decimal_mark("1,234.5"), decimal_mark("1.234,5"), decimal_mark("12,5")
    ('.', ',', ',')
    >>> decimal_mark("1,234")
    ''
    >>> decimal_mark("1.234.567"), decimal_mark("1,234,567"), decimal_mark("12.5")
    (',', '.', '.')
    """
    plain = _plain(text)[0].lstrip("+-")
    comma, point = plain.rfind(","), plain.rfind(".")
    if comma >= 0 and point >= 0:
        return "," if comma > point else "."
    mark = "," if comma >= 0 else "." if point >= 0 else ""
    if not mark or _ambiguous(plain):
        return ""
    if plain.count(mark) > 1:  # thousands, so the other is the decimal mark
        return "." if mark == "," else ","
    return mark


def _ambiguous(plain: str) -> bool:
    return bool(re.fullmatch(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", plain))


def _plain(text: str) -> tuple[str, float]:
    """The number without spaces between digits, and its sign where brackets or a dash give one."""
    plain = _SPACES.sub("", text).translate(_WIDE)
    if plain.startswith("(") and plain.endswith(")"):
        return plain[1:-1], -1.0
    return plain, 1.0


_WIDE = str.maketrans("０１２３４５６７８９，．－−（）＋", "0123456789,.--()+")
