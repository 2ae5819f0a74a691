"""The log of a policy's server as columns of numbers: JSON Lines of any size, no text is kept.

A row: `id time user arm model prompt response`, optional `feedback` (`up`, `down`), `replaces` (the
id of the answer it regenerates), `latency_ms`, `flags`, `reward_model`; other keys are the log's
own and every one can be measured by its dotted name.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reward_model.records import UserError, explain_os_error
from reward_model.traffic.lines import Span, followed, is_torn, lines_of, parsed, spans
from reward_model.traffic.values import (
    KEYS,
    NAMED,
    REFUSED,
    ROWS,
    Column,
    is_foreign,
    keys_of,
    reader,
    time_of,
    user_of,
)

TOLERATED = 0.01
"""Share of unreadable rows up to which a log is measured; they are counted either way."""


@dataclass(frozen=True)
class Log:
    """Rows of a log, each once, in the order of the file."""

    time: npt.NDArray[np.float64]
    """[n] seconds since 1970; NaN where a row has none."""
    user: npt.NDArray[np.int64]
    """[n] number of the user, 0..users-1; a row without user is its own."""
    arm: npt.NDArray[np.int16]
    """[n] place in the arms asked for, -1 for another or none."""
    columns: dict[Column, npt.NDArray[Any]]
    """[n] each: int8 with -1 for missing (shares), float64 with NaN for missing (numbers)."""
    notes: dict[str, int] = field(default_factory=dict)
    """What was left out or odd, and how often."""
    first_bad: str = ""
    """Where the first row stands that is unreadable, or else of no answer, and why."""

    def __len__(self) -> int:
        return len(self.time)


def read_log(
    paths: Sequence[Path], columns: Sequence[Column], arms: Sequence[str] = (), workers: int = 0
) -> Log:
    """Read logs, in as many processes as there are cores where they are large.

    Args:
        paths: JSON Lines files, also gzipped; a folder stands for those in it.
        columns: what to keep of each row.
        arms: names of the arms to tell apart.
        workers: processes; 0 chooses.

    Raises:
        UserError: a file cannot be read, nothing is in it, too many rows are unreadable, or none is
            of an answer.
    """
    todo = spans(paths)
    jobs = ((span, tuple(columns), tuple(arms)) for span in todo)
    workers = min(workers or (os.cpu_count() or 1), len(todo))
    try:
        if workers > 1:
            with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
                whole, parts = _collected(pool.map(_read, jobs), todo, columns)
        else:
            whole, parts = _collected(map(_read, jobs), todo, columns)
    except OSError as error:
        raise explain_os_error(error) from None
    return _joined(whole, parts, columns, paths)


_TIME, _USER, _KEY, _ARM = "d", "Q", "Q", "h"


@dataclass
class _Part:
    span: Span
    lines: int
    stores: list[array[Any]]
    """[rows] each: time, user, key, arm, and the columns."""
    unreadable: int
    torn: int
    odd: dict[str, int]
    bad: tuple[int, str] | None
    foreign: int
    first_foreign: tuple[int, str] | None


def _empty(columns: Sequence[Column]) -> list[array[Any]]:
    codes = (_TIME, _USER, _KEY, _ARM, *("b" if column.share else "d" for column in columns))
    return [array(code) for code in codes]


def _collected(
    parts: Iterable[_Part], todo: Sequence[Span], columns: Sequence[Column]
) -> tuple[list[array[Any]], list[_Part]]:
    """The rows of all parts in one, part by part as they come: both at once would be too many."""
    whole = _empty(columns)
    told = []
    for _, part in zip(followed(todo, "reading"), parts, strict=True):
        for store, more in zip(whole, part.stores, strict=True):
            store.extend(more)
        part.stores = []
        told.append(part)
    return whole, told


def _read(job: tuple[Span, tuple[Column, ...], tuple[str, ...]]) -> _Part:
    """One span of a file, in a process of its own."""
    span, columns, arms = job
    time, user, key, arm, *rest = stores = _empty(columns)
    readers = [reader(column) for column in columns]
    whole = [(read, store.append) for read, store in zip(readers, rest, strict=True)]
    place = {name: at for at, name in enumerate(arms)}
    odd: dict[str, int] = {}
    keys = [column.of for column in columns if column.of not in (ROWS, REFUSED)]
    unreadable = torn = foreign = number = 0
    bad: tuple[int, str] | None = None
    first: tuple[int, str] | None = None
    for number, (line, ended) in enumerate(lines_of(span), 1):
        if not line.strip():
            continue
        row = parsed(line)
        if isinstance(row, str):
            if is_torn(row, ended):
                torn += 1
            else:
                unreadable += 1
                bad = bad or (number, row)
            continue
        if is_foreign(row, keys):
            foreign += 1
            first = first or (number, keys_of(row))
            continue
        time.append(time_of(row.get("time"), odd))
        name = user_of(row)
        user.append(_hash(f"\0{span.path}\0{span.start + number}" if name is None else name))
        own = row.get("id")
        key.append(_hash(str(own)) if own is not None else 0)
        arm.append(place.get(row.get("arm", ""), -1) if place else -1)
        for read, keep in whole:
            keep(read(row, odd))
    return _Part(span, number, stores, unreadable, torn, odd, bad, foreign, first)


def _hash(text: str) -> int:
    """64 bits that are the same in every process; of ten million, two meet once in 370,000 logs."""
    found = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(found, "little") or 1


def _joined(
    whole: list[array[Any]], parts: list[_Part], columns: Sequence[Column], paths: Sequence[Path]
) -> Log:
    notes: dict[str, int] = {}
    for part in parts:
        for words, count in (
            *part.odd.items(),
            ("rows unreadable", part.unreadable),
            ("rows of no answer", part.foreign),
            ("last line still being written", part.torn),
        ):
            if count:
                notes[words] = notes.get(words, 0) + count
    bad, stranger = _first(parts, "bad"), _first(parts, "first_foreign")
    time, user, key, arm, *rest = (np.frombuffer(store, store.typecode) for store in whole)
    whole.clear()
    strangers = notes.get("rows of no answer", 0)
    check_readable(len(key) + strangers, notes.get("rows unreadable", 0), bad, paths)
    if not len(key):
        asked = dict.fromkeys(column.of for column in columns if column.of != ROWS)
        raise not_a_log(strangers, stranger, (*NAMED, *(of for of in asked if of not in KEYS)))
    # A mask copies what it picks, so it is only laid where rows are left out.
    first = _first_of_each(key)
    again = len(key) - int(first.sum())
    keep: Any = first if again else slice(None)
    if again:
        notes["rows with the id of an earlier row"] = again
    del key, first
    user = np.unique(user[keep], return_inverse=True)[1].astype(np.int64, copy=False)
    kept = {column: store[keep] for column, store in zip(columns, rest, strict=True)}
    return Log(time[keep], user, arm[keep], kept, notes, bad or stranger)


def _first_of_each(key: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which rows have no id, or are the first with theirs."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.ones(len(key), bool)
    first[order[1:]] = (key[1:] != key[:-1]) | (key[1:] == 0)
    return first


def check_readable(rows: int, unreadable: int, first_bad: str, paths: Sequence[Path]) -> None:
    """Refuse what is no JSON Lines, or has no row.

    Raises:
        UserError: with the first line that cannot be read.
    """
    if unreadable > TOLERATED * (unreadable + rows):
        raise UserError(
            f"{unreadable:,} of {unreadable + rows:,} rows that cannot be read, first {first_bad}",
            expected="JSON Lines, an object a row",
            mend="is this the log of the answers?",
        )
    if not rows:
        raise UserError("no rows", expected="a log with a row an answer", path=paths[0])


def not_a_log(rows: int, first: str, keys: Sequence[str]) -> UserError:
    """What is said of a file without a row of an answer; `first` is where and what its first is."""
    return UserError(
        f"{rows:,} rows and none of an answer, first {first}",
        expected=f"rows with some of {', '.join(keys)}",
        mend="is this the log of the answers?",
    )


def _first(parts: list[_Part], of: Literal["bad", "first_foreign"]) -> str:
    before: dict[str, int] = {}
    for part in parts:
        name = str(part.span.path)
        if found := getattr(part, of):
            number, why = found
            return f"{name}, line {before.get(name, 0) + number}: {why}"
        before[name] = before.get(name, 0) + part.lines
    return ""


def present(log: Log, column: Column) -> npt.NDArray[np.bool_]:
    """[n] where a column has a value."""
    values = log.columns[column]
    return values >= 0 if column.share else ~np.isnan(values)


def carried(log: Log) -> bool:
    """Whether any row has any of the columns; that there are rows is no column of theirs."""
    columns = [column for column in log.columns if column.of != ROWS]
    return not columns or any(present(log, column).any() for column in columns)
