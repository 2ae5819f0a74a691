"""Tables as rows: CSV, TSV and Parquet read as JSON Lines are, by the ending of their name.

`for line in read_rows(path)` gives the rows of any of them; `as_lines(path)` a file of JSON Lines.
"""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from reward_model.records import Line, UserError, explain_os_error, read_jsonl, write_jsonl
from reward_model.records.cache import Folder, made
from reward_model.records.errors import first_line
from reward_model.records.files import not_utf8

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""Of the cells, by the ending of the name."""
PARQUET = ".parquet"
ROWS = 64
"""Rows of a Parquet file in memory at once: a row may hold 100,000 characters."""


def is_csv(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in SEPARATORS


def is_parquet(path: Path) -> bool:
    """By its name.

    >>> is_parquet(Path("a.parquet")), is_parquet(Path("a.jsonl"))
    (True, False)
    """
    return path.suffix.lower() == PARQUET


def is_table(path: Path) -> bool:
    """Whether its rows have numbers, and no lines."""
    return is_csv(path) or is_parquet(path)


def read_rows(path: Path) -> Iterator[Line]:
    """The rows of a file, one at a time; those of Parquet and CSV are numbered, not their lines.

    Raises:
        UserError: the file cannot be read, holds no row, or a row that is not an object.
    """
    if not is_table(path):
        yield from read_jsonl(path)
        return
    number = 0
    rows = parquet_rows(path) if is_parquet(path) else csv_rows(path)
    for number, row in enumerate(rows, 1):
        yield Line(number, row, b"")
    if not number:
        raise UserError("no row", expected="a row for each text or pair", path=path)


def as_lines(path: Path) -> tuple[Path, Folder | None]:
    """JSON Lines with the rows of a file, and what has to live as long as they are read.

    Columns that a row of a table does not have are left out of it.

    Raises:
        UserError: a table that cannot be read, or holds no row.
    """
    if not is_table(path) or not path.is_file():
        return path, None

    def make(folder: Path) -> None:
        write_jsonl(folder / "rows.jsonl", (without_null(line.value) for line in read_rows(path)))

    folder = made(None, "rows", make, lambda folder: True)
    return folder.path / "rows.jsonl", folder


@contextlib.contextmanager
def told_of(path: Path, number: int) -> Iterator[None]:
    """A mistake in a row is told with its file, and its line, or its number in a table."""
    try:
        yield
    except UserError as error:
        table = is_table(path)
        raise UserError(
            f"{error.found} in row {number}" if table else error.found,
            expected=error.expected,
            mend=error.mend,
            path=path,
            line=None if table else number,
        ) from None


def _csv(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(1 << 30)  # a prompt is longer than the module's 131,072 characters
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(_whole(file, path), delimiter=delimiter, strict=True)
            _check_header(reader.fieldnames or (), path)
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(
                        "a row with another number of cells than the first line",
                        expected="one cell a column; a text with commas or line breaks in quotes",
                        path=path,
                        line=reader.line_num,
                    )
                yield row
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    except csv.Error as error:
        raise UserError(f"broken CSV ({error})", expected="a CSV file", path=path) from None
    except OSError as error:
        raise explain_os_error(error, path) from None


def _whole(lines: Iterable[str], path: Path) -> Iterator[str]:
    """The lines of a file, none of which the disk has lost: csv reads NUL as any character."""
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise UserError(
                "a NUL byte, as a disk leaves where it lost what was written",
                expected="text",
                path=path,
                line=number,
            )
        yield line


def _check_header(names: Sequence[str], path: Path) -> None:
    """A column of each name; another separator than the ending says makes one of the whole line."""
    if twice := next((name for name in names if list(names).count(name) > 1), None):
        raise UserError(
            f"two columns called {twice!r}",
            expected="a name for each: of two only one could be read",
            path=path,
            line=1,
        )
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
        if len(names) == 1 and separator in names[0]:
            raise UserError(
                f"one column called {names[0][:60]!r}: its cells are divided by {name}",
                expected="commas in .csv, tabs in .tsv",
                mend="name it .tsv" if separator == "\t" else "save it with commas, as .csv",
                path=path,
            )


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(path).iter_batches(ROWS):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(
            f"no readable Parquet ({first_line(error)})", expected="a Parquet file", path=path
        ) from None
    except OSError as error:
        raise explain_os_error(error, path) from None


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file as they would stand in JSON Lines, a few at a time.

    Raises:
        UserError: the file is missing or is no Parquet.
    """
    return (plain(row) for row in _parquet(path))


def csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a CSV or TSV file, by its ending, a cell a text.

    Raises:
        UserError: the file is missing, no CSV, not UTF-8, or a row has another number of cells.
    """
    return _csv(path, SEPARATORS[path.suffix.lower()])


def without_null(value: Any) -> Any:
    """Parquet gives every row every key; those that a row does not have are null.

    >>> without_null({"prompt": "p", "chosen": None, "response": "r"})
    {'prompt': 'p', 'response': 'r'}
    """
    if isinstance(value, dict):
        return {key: without_null(one) for key, one in value.items() if one is not None}
    return [without_null(one) for one in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """JSON has no NaN; pandas writes one where a cell is empty. Text may be stored as bytes.

    >>> plain({"text": "利润".encode(), "image": b"\\xff", "cell": math.nan})
    {'text': '利润', 'image': {'not UTF-8': 'ff'}, 'cell': None}
    """
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:  # no text: refused where one is needed
            return {"not UTF-8": value.hex()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)  # dates and the like, in metadata
