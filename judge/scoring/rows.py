"""A file of pairs that is read in any order without being held in memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reward_model.records import (
    Pair,
    UserError,
    explain_os_error,
    parse_json,
    parse_record,
    read_jsonl,
)


class PairFile:
    """Pairs of a JSONL file, in order and checked, or by number.

    Raises:
        UserError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError("something that is not a plain file", expected="a file", path=path)
        self._starts = array("Q")
        hashed = hashlib.sha256()
        at = 0
        try:
            with path.open("rb") as file:
                for raw in file:
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

    def pairs(self) -> Iterator[Pair]:
        """All pairs in the order of the file, each checked."""
        for line in read_jsonl(self.path):
            yield parse_record(Pair, line.value, path=self.path, line=line.number)

    def value(self, number: int) -> dict[str, Any]:
        """The object of pair `number` (from 0), as it stands in the file."""
        with self.path.open("rb") as file:
            file.seek(self._starts[number])
            value: dict[str, Any] = parse_json(file.readline().decode("utf-8-sig"))
        return value
