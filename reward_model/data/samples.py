"""Labelled texts of a file that do not enter memory: labels and keys in columns, texts on the disk.

`Samples` is a sequence of `Sample`; it keeps some 70 bytes a text whatever the texts' length, and
reads a text from its place in the file when it is asked for.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from reward_model.data.sample import Sample, SampleSide
from reward_model.records import Line, UserError, digest, explain_os_error, parse_json
from reward_model.records.files import Pathish

Ints = NDArray[np.int64]
Opener = Callable[[Any, int | None], list[Sample]]
"""Parsed line and its number -> its samples."""

_SIDES: tuple[SampleSide, ...] = ("chosen", "rejected", "single")
_FACETS = ("field", "language", "degradation", "severity", "generator", "company")
_BOM = b"\xef\xbb\xbf"


class _Codes:
    """Values seen so far, by number; None is one of them."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}
        self.column = array("i")

    def add(self, value: Any) -> None:
        self.column.append(self._known.setdefault(value, len(self._known)))

    @property
    def values(self) -> list[Any]:
        return list(self._known)


class Columns:
    """What is kept of every text, and where the rest stands.

    Args:
        path: file of JSON Lines that holds the texts.
        shown: path that messages name, where `path` was made from another file.
        opener: makes samples of a parsed line; called again when a text is asked for.
        dimensions: D.
        classes: K, where soft labels are kept; else 0.
        layout: what else the samples of a line follow from.
        holder: what keeps `path` there, where it is temporary.
    """

    def __init__(
        self,
        path: Pathish,
        opener: Opener,
        dimensions: int,
        *,
        shown: Pathish,
        classes: int = 0,
        layout: str = "",
        holder: Any = None,
    ) -> None:
        self.path, self.shown, self._open = Path(path), shown, opener
        self._dimensions, self._classes = dimensions, classes
        self._stamp = _stamp(self.path)
        self._holder = holder
        self._told = hashlib.sha256(layout.encode())
        self._last: tuple[int, list[Sample]] = (-1, [])
        self._groups = _Codes()
        self._pairs = bytearray()
        self._facets = {name: _Codes() for name in _FACETS}
        self._raw: dict[str, array[Any]] = {
            "offset": array("q"),
            "size": array("i"),
            "nth": array("H"),
            "labels": array("b"),
            "side": array("b"),
            "neutral": array("b"),
            "text": array("Q"),
            "prompt": array("Q"),
            "pair_end": array("q"),
            "soft": array("f"),
        }

    def add(self, samples: Iterable[Sample], line: Line) -> None:
        """Take in the samples of a line."""
        raw = self._raw
        self._told.update(line.raw)
        for nth, sample in enumerate(samples):
            raw["offset"].append(line.offset)
            raw["size"].append(len(line.raw))
            raw["nth"].append(nth)
            raw["labels"].extend(sample.labels)
            raw["side"].append(_SIDES.index(sample.side))
            raw["neutral"].append(sample.neutral)
            raw["text"].append(int(sample.text_digest, 16))
            raw["prompt"].append(int(sample.prompt_key or "0", 16))
            self._pairs += sample.pair.encode()
            raw["pair_end"].append(len(self._pairs))
            for shares in sample.soft or ():
                raw["soft"].extend(shares)
            self._groups.add(sample.group)
            for name, codes in self._facets.items():
                codes.add(getattr(sample, name))

    def close(self) -> Columns:
        """End of the file: from here on it can be read."""
        raw = {name: np.frombuffer(column, column.typecode) for name, column in self._raw.items()}
        self.offsets, self._sizes, self._nth = raw["offset"], raw["size"], raw["nth"]
        self.labels = raw["labels"].reshape(-1, self._dimensions)
        self.sides, self.neutral, self._texts = raw["side"], raw["neutral"], raw["text"]
        self._prompts, self._pair_ends = raw["prompt"], raw["pair_end"]
        self.soft = (
            raw["soft"].reshape(-1, self._dimensions, self._classes) if self._classes else None
        )
        self.groups = np.frombuffer(self._groups.column, "i")
        self.group_names: list[str] = self._groups.values
        self._facet_codes = {n: np.frombuffer(c.column, "i") for n, c in self._facets.items()}
        self._facet_values = {name: codes.values for name, codes in self._facets.items()}
        self.source = self._told.hexdigest()
        del self._raw, self._groups, self._facets
        return self

    def group(self, row: int) -> str:
        """Group of a row."""
        return self.group_names[int(self.groups[row])]

    def side(self, row: int) -> SampleSide:
        """Side of a row."""
        return _SIDES[int(self.sides[row])]

    def pair(self, row: int) -> str:
        """Key of the pair or record of a row."""
        start = int(self._pair_ends[row - 1]) if row else 0
        return self._pairs[start : int(self._pair_ends[row])].decode()

    def facet(self, name: str, row: int) -> Any:
        """A short fact of a row's metadata."""
        return self._facet_values[name][int(self._facet_codes[name][row])]

    def text_digest(self, row: int) -> str:
        """Fingerprint of a row's texts."""
        return f"{int(self._texts[row]):012x}"

    def prompt_key(self, row: int) -> str:
        """Fingerprint of a row's prompt; empty without one."""
        return f"{int(self._prompts[row]):012x}" if self._prompts[row] else ""

    def soft_of(self, row: int) -> Any:
        """Soft labels of a row, if they were asked for."""
        return None if self.soft is None else tuple(map(tuple, self.soft[row].tolist()))

    def read(self, row: int) -> Sample:
        """The whole sample of a row, texts and all, from the file.

        Raises:
            UserError: the file is gone or not the one that was read.
        """
        offset = int(self.offsets[row])
        at, samples = self._last  # both sides of a pair are asked for one after the other
        if at != offset:
            try:
                with self.path.open("rb") as file:
                    if _stamp_of(file.fileno()) != self._stamp:
                        raise UserError(
                            "a file that was changed after it was read",
                            expected="the same file until the end of the run",
                            mend="run the same command again",
                            path=self.shown,
                        )
                    file.seek(offset)
                    line = file.read(int(self._sizes[row]))
            except OSError as error:
                raise explain_os_error(error, self.shown) from None
            samples = self._open(parse_json(line.removeprefix(_BOM)), None)
            self._last = (offset, samples)
        return samples[int(self._nth[row])]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # reading it will say what is wrong
    return status.st_size, status.st_mtime_ns


def _stamp_of(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_size, status.st_mtime_ns


class RowView(Sample):
    """One row of a file: labels and keys at hand, texts read when they are asked for."""

    __slots__ = ("_row",)
    _row: tuple[Columns, int]

    def __new__(cls, *args: Any, **kwargs: Any) -> Sample:  # type: ignore[misc]
        """`dataclasses.replace` of a view makes a sample of its own; `RowView.of` makes views."""
        return Sample(*args, **kwargs)

    @classmethod
    def of(cls, columns: Columns, row: int) -> RowView:
        """Row `row` of `columns`; holds no text."""
        self = object.__new__(cls)
        # A frozen class sets its fields so, and what stays unset is looked up below.
        put = object.__setattr__
        put(self, "labels", tuple(columns.labels[row].tolist()))
        put(self, "group", columns.group(row))
        put(self, "side", columns.side(row))
        put(self, "pair", columns.pair(row))
        put(self, "neutral", bool(columns.neutral[row]))
        put(self, "soft", columns.soft_of(row))
        put(self, "_row", (columns, row))
        return self

    if not TYPE_CHECKING:  # for a type checker there is nothing but the fields

        def __getattr__(self, name: str) -> Any:
            """What a view does not hold is read from its file; only then is this called."""
            if name in _READ:
                columns, row = self._row
                return getattr(columns.read(row), name)
            raise AttributeError(name)

        def __eq__(self, other: object) -> bool:
            """Equal to whatever sample holds the same."""
            return isinstance(other, Sample) and _held(self) == _held(other)

        def __hash__(self) -> int:
            return hash((self.pair, self.side, self.labels))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to another process with its texts, without the file."""
        return Sample, _held(self)

    def _fact(self, name: str) -> Any:
        """A short fact of the metadata, kept by the file's columns."""
        columns, row = self._row
        return columns.facet(name, row)

    @property
    def field(self) -> str | None:
        """Field of the report, where known."""
        known: str | None = self._fact("field")
        return known

    @property
    def language(self) -> str | None:
        """Language of the report, where known."""
        known: str | None = self._fact("language")
        return known

    @property
    def degradation(self) -> str | None:
        """Kind of the degradation of its pair, where known (of both sides)."""
        known: str | None = self._fact("degradation")
        return known

    @property
    def severity(self) -> int | None:
        """Severity of the degradation of its pair, where known (of both sides)."""
        known: int | None = self._fact("severity")
        return known

    @property
    def generator(self) -> str | None:
        """Who wrote the pair: one model, or both if they differ."""
        known: str | None = self._fact("generator")
        return known

    @property
    def company(self) -> str | None:
        """What it is about, where known: texts on one company are never divided."""
        known: str | None = self._fact("company")
        return known

    @property
    def prompt_key(self) -> str:
        """Fingerprint of the prompt; empty without one. One prompt is never divided."""
        columns, row = self._row
        return columns.prompt_key(row)

    @property
    def text_digest(self) -> str:
        """Fingerprint of prompt and response."""
        columns, row = self._row
        return columns.text_digest(row)


_READ = frozenset({"prompt", "response", "metadata"})
"""Fields that a view reads from its file."""


def _held(sample: Sample) -> tuple[Any, ...]:
    return tuple(getattr(sample, part.name) for part in fields(Sample))


class Samples(Sequence[Sample]):
    """Rows of a file's columns; indexing gives a light view, `take` another selection of rows."""

    def __init__(self, columns: Columns, rows: Ints | None = None) -> None:
        self.columns = columns
        self.rows: Ints = np.arange(len(columns.labels)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Samples: ...

    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return Samples(self.columns, self.rows[index])
        return RowView.of(self.columns, int(self.rows[index]))

    def __iter__(self) -> Iterator[Sample]:
        for row in self.rows:
            yield RowView.of(self.columns, int(row))

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Samples:
        """The samples at these positions, in this order; a mask of booleans picks too."""
        picked = np.asarray(rows) if len(rows) else np.zeros(0, np.int64)
        return Samples(self.columns, self.rows[picked])

    @property
    def source(self) -> str:
        """Fingerprint of the lines these samples come from, and of which of them they are."""
        return digest([self.columns.source, digest(self.rows.tobytes(), 24)], 24)

    @property
    def labels(self) -> NDArray[np.int8]:
        """(N, D) levels, -100 where there is none."""
        picked: NDArray[np.int8] = self.columns.labels[self.rows]
        return picked

    def pairs(self, *, neutral: bool) -> list[tuple[int, int]]:
        """Positions of the two sides of every pair."""
        columns, rows = self.columns, self.rows
        if len(rows) < 2:
            return []
        a, b = rows[:-1], rows[1:]
        both = (
            (columns.sides[a] == 0)
            & (columns.sides[b] == 1)
            & (columns.offsets[a] == columns.offsets[b])
            & (columns.neutral[a] == neutral)
        )
        first = np.flatnonzero(both).tolist()
        return [(i, i + 1) for i in first]


def take(samples: Sequence[Sample], rows: Sequence[int] | NDArray[Any]) -> Sequence[Sample]:
    """The samples at these positions: of a list, or of a file without reading texts."""
    if isinstance(samples, Samples):
        return samples.take(rows)
    picked = np.asarray(rows)
    if picked.dtype == np.bool_:
        picked = np.flatnonzero(picked)
    return [samples[int(i)] for i in picked]


def label_array(samples: Sequence[Sample]) -> NDArray[np.int8]:
    """(N, D) levels of any samples, -100 where there is none."""
    if isinstance(samples, Samples):
        return samples.labels
    return np.array([sample.labels for sample in samples], dtype=np.int8)
