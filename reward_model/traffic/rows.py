"""The log of a policy's server as columns of numbers: JSON Lines of any size, no text is kept.

A row: `id time user arm model prompt response`, optional `feedback` (`up`, `down`), `replaces` (the
id of the answer it regenerates), `latency_ms`, `flags`, `reward_model`; other keys are the log's
own and every one can be measured by its dotted name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reward_model.records import UserError, explain_os_error
from reward_model.traffic.lines import Span, lines_of, parsed, spans
from reward_model.traffic.values import Column, reader, time_of, user_of

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
    """Where the first unreadable row stands, and why."""

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
        UserError: a file cannot be read, nothing is in it, or too many rows are unreadable.
    """
    todo = spans(paths)
    jobs = [(span, tuple(columns), tuple(arms)) for span in todo]
    workers = min(workers or (os.cpu_count() or 1), len(jobs))
    try:
        if workers > 1:
            with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
                parts = list(pool.map(_read, jobs))
        else:
            parts = [_read(job) for job in jobs]
    except OSError as error:
        raise explain_os_error(error) from None
    return _joined(parts, columns, paths)


@dataclass
class _Part:
    span: Span
    lines: int
    time: npt.NDArray[np.float64]
    user: npt.NDArray[np.uint64]
    key: npt.NDArray[np.uint64]
    arm: npt.NDArray[np.int16]
    columns: list[npt.NDArray[Any]]
    unreadable: int
    torn: int
    odd: dict[str, int]
    bad: tuple[int, str] | None


def _read(job: tuple[Span, tuple[Column, ...], tuple[str, ...]]) -> _Part:
    """One span of a file, in a process of its own."""
    from array import array

    span, columns, arms = job
    readers = [reader(column) for column in columns]
    stores = [array("b" if column.share else "d") for column in columns]
    whole = [(read, store.append) for read, store in zip(readers, stores, strict=True)]
    time, user, key, arm = array("d"), array("Q"), array("Q"), array("h")
    place = {name: at for at, name in enumerate(arms)}
    odd: dict[str, int] = {}
    unreadable = torn = number = 0
    bad: tuple[int, str] | None = None
    for number, (line, ended) in enumerate(lines_of(span), 1):
        if not line.strip():
            continue
        row = parsed(line)
        if isinstance(row, str):
            if ended:
                unreadable += 1
                bad = bad or (number, row)
            else:
                torn += 1
            continue
        time.append(time_of(row.get("time"), odd))
        name = user_of(row)
        user.append(_hash(f"\0{span.path}\0{span.start + number}" if name is None else name))
        own = row.get("id")
        key.append(_hash(str(own)) if own is not None else 0)
        arm.append(place.get(row.get("arm", ""), -1) if place else -1)
        for read, keep in whole:
            keep(read(row, odd))
    return _Part(
        span,
        number,
        np.frombuffer(time, np.float64) if time else np.empty(0),
        np.frombuffer(user, np.uint64) if user else np.empty(0, np.uint64),
        np.frombuffer(key, np.uint64) if key else np.empty(0, np.uint64),
        np.frombuffer(arm, np.int16) if arm else np.empty(0, np.int16),
        [
            np.frombuffer(store, np.int8 if column.share else np.float64)
            if store
            else np.empty(0, np.int8 if column.share else np.float64)
            for column, store in zip(columns, stores, strict=True)
        ],
        unreadable,
        torn,
        odd,
        bad,
    )


def _hash(text: str) -> int:
    """64 bits that are the same in every process; of ten million, two meet once in 370,000 logs."""
    found = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(found, "little") or 1


def _joined(parts: list[_Part], columns: Sequence[Column], paths: Sequence[Path]) -> Log:
    notes: dict[str, int] = {}
    for part in parts:
        for words, count in (
            *part.odd.items(),
            ("rows unreadable", part.unreadable),
            ("last line still being written", part.torn),
        ):
            if count:
                notes[words] = notes.get(words, 0) + count
    bad = _first_bad(parts)
    key = _take(parts, "key") if parts else np.empty(0, np.uint64)
    unreadable = notes.get("rows unreadable", 0)
    if unreadable > TOLERATED * (unreadable + len(key)):
        raise UserError(
            f"{unreadable:,} of {unreadable + len(key):,} rows that cannot be read, first {bad}",
            expected="JSON Lines, an object a row",
            mend="is this the log of the answers?",
        )
    if not len(key):
        raise UserError("no rows", expected="a log with a row an answer", path=paths[0])
    keep = _first_of_each(key)
    if not keep.all():
        notes["rows with the id of an earlier row"] = int((~keep).sum())
    del key
    user = np.unique(_take(parts, "user")[keep], return_inverse=True)[1].astype(np.int64)
    kept = {}
    for at, column in enumerate(columns):
        kept[column] = np.concatenate([part.columns[at] for part in parts])[keep]
        for part in parts:
            part.columns[at] = np.empty(0)
    return Log(_take(parts, "time")[keep], user, _take(parts, "arm")[keep], kept, notes, bad)


def _take(parts: list[_Part], name: str) -> npt.NDArray[Any]:
    """A column of all parts in one; they lose theirs: two of ten million rows are too many."""
    joined = np.concatenate([getattr(part, name) for part in parts])
    for part in parts:
        setattr(part, name, np.empty(0))
    return joined


def _first_of_each(key: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which rows have no id, or are the first with theirs."""
    order = np.argsort(key, kind="stable")
    again = np.zeros(len(key), bool)
    again[order[1:]] = (key[order[1:]] == key[order[:-1]]) & (key[order[1:]] != 0)
    return ~again


def _first_bad(parts: list[_Part]) -> str:
    before: dict[str, int] = {}
    for part in parts:
        name = str(part.span.path)
        if part.bad:
            number, why = part.bad
            return f"{name}, line {before.get(name, 0) + number}: {why}"
        before[name] = before.get(name, 0) + part.lines
    return ""


def present(log: Log, column: Column) -> npt.NDArray[np.bool_]:
    """[n] where a column has a value."""
    values = log.columns[column]
    return values >= 0 if column.share else ~np.isnan(values)
