"""Lines of logs: folders, gzipped files, and spans of large files for several processes."""

from __future__ import annotations

import gzip
import json
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_model.records import check_plain
from reward_model.records.errors import UserError, explain_os_error, instead_of_text
from reward_model.records.terminal import progress

SPAN = 64 * 2**20
"""Bytes of a file that one process reads at a time."""


@dataclass(frozen=True)
class Span:
    """The lines of a file that begin at or after `start` and before `end`."""

    path: Path
    start: int = 0
    end: int | None = None
    """None: up to the end, for what has no size (a pipe, a gzipped file)."""


def megabytes(span: Span) -> float:
    """How much there is to read; 0 of a pipe."""
    end = span.path.stat().st_size if span.end is None else span.end
    return (end - span.start) / 1e6


def followed(todo: Sequence[Span], what: str) -> Iterator[Span]:
    """The same spans one by one, with a word about how far they are where they are many."""
    with progress(transient=True) as bar:
        task = bar.add_task(f"{what}, MB", total=sum(map(megabytes, todo)), note="")
        for span in todo:
            yield span
            bar.update(task, advance=megabytes(span))


def spans(paths: Sequence[Path]) -> list[Span]:
    """What to read, in order.

    Raises:
        UserError: a path is missing, or a folder without logs.
    """
    found: list[Span] = []
    for path in paths:
        try:
            mode = path.stat()
        except OSError as error:
            raise explain_os_error(error, path) from None
        check_plain(path)
        if stat.S_ISDIR(mode.st_mode):
            inside = sorted(p for p in path.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz")))
            if not inside:
                expected = "*.jsonl or *.jsonl.gz in it"
                raise UserError("a folder without logs", expected=expected, path=path)
            found += spans(inside)
        elif _is_gzipped(path):
            found.append(Span(path))
        else:
            size = mode.st_size
            found += [Span(path, at, min(at + SPAN, size)) for at in range(0, size, SPAN)]
    return found


def _is_gzipped(path: Path) -> bool:
    """Whether a file is read through gzip: by its name, and its first bytes must say the same."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise explain_os_error(error, path) from None
    zipped, named = start.startswith(b"\x1f\x8b"), path.suffix == ".gz"
    expected = "JSON Lines, a row an answer"
    if zipped != named and start:
        found = "a gzipped file" if zipped else "a file that is not gzipped"
        mend = f"give it a name that {'ends' if zipped else 'does not end'} in .gz"
        raise UserError(found, expected=expected, mend=mend, path=path)
    if start.startswith(b"PAR1"):
        mend = "write its rows as JSON Lines"
        raise UserError("a Parquet file", expected=expected, mend=mend, path=path)
    if not zipped and (known := instead_of_text(start)) is not None:
        raise UserError(known[0], expected=expected, mend=known[1], path=path)
    return named


def lines_of(span: Span) -> Iterator[tuple[bytes, bool]]:
    """Each line and whether it has its newline: a log's last line may still be being written."""
    try:
        with gzip.open(span.path) if span.path.suffix == ".gz" else span.path.open("rb") as lines:
            at = span.start
            if at:
                lines.seek(at - 1)
                at += len(lines.readline()) - 1
            for line in lines:
                if span.end is not None and at >= span.end:
                    return
                at += len(line)
                yield line, line.endswith(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            "a gzipped file that cannot be read to its end",
            mend="is it still being written?",
            path=span.path,
        ) from error
    except OSError as error:
        raise explain_os_error(error, span.path) from None


NOT_JSON = "not JSON"


def is_torn(why: str, ended: bool) -> bool:
    """Whether a line that is no row may be one that is still being written."""
    return not ended and why == NOT_JSON


def parsed(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or in words why there is none.

    >>> parsed(b'{"id": 1}'), parsed(b"[1]"), parsed(b"{")
    ({'id': 1}, 'a list, not an object', 'not JSON')
    """
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return NOT_JSON
    if isinstance(row, dict):
        return row
    return f"a {type(row).__name__}, not an object"
