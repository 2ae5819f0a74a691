"""Why calls brought no answer, in the providers' own words: the commonest of them, counted."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

_DIGITS = re.compile(r"\d[\d,.]*")


class Reasons:
    """Details of refusals and of calls given up; those that differ in numbers alone are one.

    >>> reasons = Reasons()
    >>> for size in (9000, 9100): reasons.add("refused", f"{size} tokens are too many")
    >>> reasons.words()
    '  2 refused: 9000 tokens are too many'
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}

    def add(self, reason: str, detail: str) -> None:
        """Count one."""
        kind = (reason, _DIGITS.sub("#", detail))
        self._counts[kind] += 1
        self._first.setdefault(kind, detail)

    def commonest(self, most: int = 20) -> list[dict[str, Any]]:
        """The commonest, each with its reason, its first detail and its count."""
        return [
            {"reason": kind[0], "detail": self._first[kind], "count": count}
            for kind, count in self._counts.most_common(most)
        ]

    def words(self, most: int = 3) -> str:
        """The commonest, one a line; empty where every call was answered."""
        lines = [
            f"  {one['count']:,} {one['reason']}: {one['detail']}" for one in self.commonest(most)
        ]
        if (more := len(self._counts) - most) > 0:
            lines.append(f"  and {more} other reason(s), in the report")
        return "\n".join(lines)
