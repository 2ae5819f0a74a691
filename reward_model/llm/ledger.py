"""The ledger: every call appended before its result is used.

It is the resume point, the cache and the invoice: a call found in it is not made again.
"""

from __future__ import annotations

from pathlib import Path

from reward_model.llm.base import Reply
from reward_model.records import Appender, read_jsonl


class Ledger:
    """Replies by call key, kept in one JSONL file; without a path, in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._replies: dict[str, Reply] = {}
        self._file = None
        if path is not None:
            self._file = Appender(path)
            for line in read_jsonl(path, allow_empty=True):
                self._replies[line.value["key"]] = Reply.model_validate(line.value["reply"])

    def get(self, key: str) -> Reply | None:
        """The reply of an earlier call, if there was one."""
        return self._replies.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Keep a reply; it is in the file when this returns."""
        if self._file is not None:
            self._file.append({"key": key, "reply": reply.model_dump(mode="json")})
        self._replies[key] = reply

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
