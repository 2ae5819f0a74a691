"""A file of rows, read in any order without being held in memory, and what is judged of each.

`RowFile(path)[n]` is the object of row n; `item_of(value)` its texts: both sides of a pair, one
response, or all completions of a prompt.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from reward_model.records import (
    SIDES,
    Pair,
    as_text,
    check_plain,
    digest,
    explain_os_error,
    parse_json,
    read_jsonl,
)
from reward_model.records.chat.turns import judged
from reward_model.records.files import Pathish
from reward_model.records.rows import parse_pair, parse_row
from reward_model.records.tables import as_lines, told_of

RESPONSE = "response"
"""Slot of a row with one response; completions go by their number."""
_ADDED = ("scores", "judge")
"""Columns that scoring writes."""


class Item(NamedTuple):
    """What is judged of a row."""

    prompt: str
    texts: dict[str, str]
    """By slot: `chosen` and `rejected`, `response`, `0`, `1`, ... of completions, or the columns of
    two responses."""
    pair: Pair | None
    """The row as a pair, where it is one."""
    scored: bool
    """It has scores already."""

    key: str
    """Its id, or a fingerprint of its texts."""
    group: str
    """What bootstraps keep together: that of the pair, `prompt_id`, else the prompt."""
    listed: bool = False
    """The row has a list of completions."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of its texts."""
        return tuple(self.texts)

    @property
    def form(self) -> Literal["single", "list", "named"]:
        """How what is said of its texts is written."""
        return "single" if RESPONSE in self.texts else "list" if self.listed else "named"


def item_of(
    value: Mapping[str, Any], *, path: Pathish | None = None, line: int | None = None
) -> Item:
    """The texts of a row.

    Raises:
        UserError: neither a pair nor a response nor completions.

    >>> item_of({"prompt": "p", "completions": ["a", "b"]}).texts
    {'0': 'a', '1': 'b'}
    """
    if any(side in value for side in SIDES):
        pair = parse_pair(value, path=path, line=line)
        sides: dict[str, str] = {side: as_text(pair.side(side)) for side in SIDES}
        scored = value.get("scores") is not None
        return Item(as_text(pair.prompt), sides, pair, scored, pair.key, pair.group)
    scored = any(value.get(name) is not None for name in _ADDED)
    row = parse_row(value, path=path, line=line)
    read = [judged(row.prompt, text) for text in row.completions]
    names = row.names if row.names and len(row.names) > 1 else None
    slots = names or ([RESPONSE] if row.names else list(map(str, range(len(read)))))
    by_slot = {slot: one.text for slot, one in zip(slots, read, strict=True)}
    # In the order of the columns: that of `names` says which people preferred.
    texts = {name: by_slot[name] for name in value if name in by_slot} if names else by_slot
    prompt, group = as_text(read[0].prompt), row.prompt_id or row.group
    key = (
        str(value["id"]) if value.get("id") not in (None, "") else digest([prompt, *texts.values()])
    )
    return Item(prompt, texts, None, scored, key, group, row.names is None)


class RowFile:
    """Rows of a JSONL, CSV, TSV or Parquet file, in order and checked, or by number.

    Raises:
        UserError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_plain(path)
        self._lines, self._folder = as_lines(path)
        self._starts = array("Q")
        hashed = hashlib.sha256()
        at = 0
        try:
            if self._folder is not None:
                with path.open("rb") as table:
                    hashed = hashlib.file_digest(table, "sha256")
            with self._lines.open("rb") as file:
                for raw in file:
                    if self._folder is None:
                        hashed.update(raw)
                    if raw.removeprefix(b"\xef\xbb\xbf").strip():
                        self._starts.append(at)
                    at += len(raw)
        except OSError as error:
            raise explain_os_error(error, path) from None
        self.digest = hashed.hexdigest()[:12]
        """Fingerprint of the bytes."""

    def __len__(self) -> int:
        return len(self._starts)

    def items(self) -> Iterator[tuple[dict[str, Any], Item, int]]:
        """All rows in the order of the file, each checked: the object, its texts, its line."""
        for line in read_jsonl(self._lines):
            with told_of(self.path, line.number):
                item = item_of(line.value)
            yield line.value, item, line.number

    def __getitem__(self, number: int) -> dict[str, Any]:
        """The object of row `number` (from 0), as it stands in the file."""
        with self._lines.open("rb") as file:
            file.seek(self._starts[number])
            value: dict[str, Any] = parse_json(file.readline().decode("utf-8-sig"))
        return value
