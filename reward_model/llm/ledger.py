"""The ledger: every call appended to a JSONL file before its result is used.

It is the resume point, the cache and the invoice: a call found in it is not made again. A line is
one write to the operating system, so killing the process loses nothing that was appended; the file
is flushed to the disk on closing only, so a power cut may lose the last seconds. Replies are read
back from the file when they are asked for; memory holds 24 to 48 bytes a call.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from reward_model.llm.base import Reply
from reward_model.llm.index import OffsetIndex
from reward_model.records import Appender, UserError, explain_os_error, locked, parse_json
from reward_model.records.files import is_object

# Lines begin with what loading needs, so that a large ledger loads without parsing its replies.
_HEAD = re.compile(rb'\{"key": "([^"\\]+)", "cost_usd": (null|[-+.\deE]+), ')
_LOST = re.compile(rb'\{"lost": "[^"\\]*", "cost_usd": (null|[-+.\deE]+), ')


class Entry(NamedTuple):
    """What the ledger knows about a call: its reply, or why it was refused for good."""

    reply: Reply | None
    refused: str = ""


class Ledger:
    """Calls by key, in one JSONL file; without a path, in memory only.

    Args:
        path: the file.
        read_only: it is there already, and is only looked at.

    Raises:
        UserError: the file cannot be used, is no ledger, or another process is writing it.
    """

    def __init__(self, path: Path | None = None, *, read_only: bool = False) -> None:
        self.path = path
        self.cost_usd = 0.0
        """Sum of the known costs of all its lines, those of earlier runs included."""
        self._kept: dict[str, Entry] = {}
        self._index = OffsetIndex()
        self._file: Appender | None = None
        self._reader: IO[bytes] | None = None
        self._lock = ExitStack()
        if path is not None and read_only:
            self._look_at(path)
        elif path is not None:
            self._open(path)

    def _look_at(self, path: Path) -> None:
        try:
            self._load(path)
            self._reader = self._lock.enter_context(path.open("rb", 1 << 16))
        except OSError as error:
            raise explain_os_error(error, path) from None

    def _open(self, path: Path) -> None:
        self._lock.enter_context(
            locked(
                path,
                found="a ledger that another process is writing",
                expected="one process a ledger",
                mend="wait for it to end, or give this run a ledger of its own",
            )
        )
        try:
            if path.exists():
                self._load(path)
            self._file = Appender(path)
            self._reader = self._lock.enter_context(path.open("rb", 1 << 16))
        except OSError as error:
            self.close()
            raise explain_os_error(error, path) from None
        except BaseException:
            self.close()
            raise

    def _load(self, path: Path) -> None:
        offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") and not is_object(line):
                    if offset or _begins(line):
                        return  # torn: the last call was not written to its end
                    raise _no_call(path, number)
                head = _HEAD.match(line)
                lost = None if head else _LOST.match(line)
                if head:
                    self._index.add(head[1].decode(), offset)
                    self._add_cost(head[2])
                elif lost:
                    self._add_cost(lost[1])
                elif line.strip():
                    self._load_other(line, offset, path, number)
                offset += len(line)

    def _add_cost(self, digits: bytes) -> None:
        if digits != b"null":
            self.cost_usd += float(digits)

    def _load_other(self, line: bytes, offset: int, path: Path, number: int) -> None:
        """A line that was written by hand or by another tool: any order of keys will do."""
        try:
            value = parse_json(line)
            if "lost" not in value:
                if not isinstance(value.get("refused", value.get("text")), str):
                    raise TypeError
                self._index.add(value["key"], offset)
            self.cost_usd += value.get("cost_usd") or 0.0
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _no_call(path, number) from None

    def __len__(self) -> int:
        """Number of calls kept."""
        return len(self._kept) + len(self._index)

    def get(self, key: str) -> Entry | None:
        """What an earlier call gave, if there was one."""
        if self._reader is None:
            return self._kept.get(key)
        for offset in self._index.find(key):
            try:
                value = parse_json(_line_at(self._reader, offset))
                if value["key"] == key:
                    return _entry(value)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"a broken line at byte {offset} ({type(error).__name__})",
                    expected="a call as it was written",
                    mend="remove the line; the call is made again",
                    path=self.path,
                ) from None
        return None

    def add(self, key: str, reply: Reply, cost_usd: float | None, about: dict[str, Any]) -> None:
        """Keep a reply; it is in the file when this returns.

        Args:
            about: what identifies the call to a person: model, base_url, sample, time.
        """
        data = reply.model_dump(mode="json")
        row = {
            "key": key,
            "cost_usd": cost_usd,
            **about,
            "returned": data["model"],
            "finish_reason": data["finish_reason"],
            "usage": data["usage"],
            "latency_s": round(reply.latency_s, 4),
            "text": reply.text,
        }
        if data["without"]:
            row["without"] = data["without"]
        if data["tokens"] is not None:
            row["tokens"] = data["tokens"]
        self._append(key, row, Entry(reply), cost_usd)

    def refuse(self, key: str, why: str, about: dict[str, Any]) -> None:
        """Keep a refusal, so that the call is not made again."""
        row = {"key": key, "cost_usd": None, **about, "refused": why}
        self._append(key, row, Entry(None, why), None)

    def lose(self, key: str, why: str, cost_usd: float | None, about: dict[str, Any]) -> None:
        """Note a call whose answer was lost but which the provider may charge for."""
        # `_LOST` reads the line back without parsing it, so no quote may stand in it.
        why = re.sub(r'["\\\s]+', " ", why)
        if self._file is not None:
            self._file.append({"lost": why, "cost_usd": cost_usd, "key": key, **about})
        self.cost_usd += cost_usd or 0.0

    def _append(self, key: str, row: dict[str, Any], entry: Entry, cost: float | None) -> None:
        if self._file is None:
            self._kept[key] = entry
        else:
            self._index.add(key, self._file.append(row))
        self.cost_usd += cost or 0.0

    def close(self) -> None:
        """Flush to the disk and close; another process may use the file then."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._reader = None
        self._lock.close()


def _entry(value: dict[str, Any]) -> Entry:
    if "refused" in value:
        return Entry(None, str(value["refused"]))
    return Entry(
        Reply.model_validate(
            {
                "text": value["text"],
                "model": value.get("returned", ""),
                "finish_reason": value.get("finish_reason", "stop"),
                "usage": value.get("usage", {}),
                "latency_s": value.get("latency_s", 0.0),
                "tokens": value.get("tokens"),
                "without": value.get("without", ()),
            }
        )
    )


def _line_at(file: IO[bytes], offset: int) -> bytes:
    file.seek(offset)
    return file.readline()


def _begins(line: bytes) -> bool:
    """Whether a torn line is the beginning of one that this module writes."""
    return any(line.startswith(head[: len(line)]) for head in (b'{"key": "', b'{"lost": "'))


def _no_call(path: Path, number: int) -> UserError:
    return UserError(
        "a line that is no call",
        expected='an object with "key" and "text"',
        mend="choose another file as ledger, or remove the line",
        path=path,
        line=number,
    )
