"""What was looked at, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["problem", "note", "ok"]
    check: str
    found: str
    why: str = ""
    """What comes of it."""
    mend: str = ""


def problem(check: str, found: str, why: str, mend: str) -> Finding:
    """Something that makes scores wrong, or a model that cannot be used."""
    return Finding("problem", check, found, why, mend)


def note(check: str, found: str, why: str, mend: str = "") -> Finding:
    """Something to know that is not wrong by itself."""
    return Finding("note", check, found, why, mend)


def ok(check: str, found: str) -> Finding:
    """Something that was looked at and is as it should be."""
    return Finding("ok", check, found)
