"""What a row of a log says: a time, a thumb, a refusal, a number under a dotted key."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from reward_model.records.errors import some_of

REFUSED = "refused"
FEEDBACK = "feedback"
ROWS = "rows"
"""Every row counts once."""
_UP = {"up", "thumbs_up", "like", "positive", "good", "true", "1", "👍"}
_DOWN = {"down", "thumbs_down", "dislike", "negative", "bad", "false", "0", "-1", "👎"}
_HEAD = 160
"""Characters of an answer in which a refusal is looked for."""


@dataclass(frozen=True)
class Column:
    """One thing to measure of every row."""

    of: str
    """A dotted key, `refused` or `rows`."""
    share: bool
    """Whether it is true or false, rather than a number."""
    above: float | None = None
    """A number counts as true above it."""
    among: tuple[tuple[str, Any], ...] = ()
    """Dotted keys and the value each must have; other rows count as missing."""


def get(row: dict[str, Any], key: str) -> Any:
    """The value under a key, or a dotted path into objects; None where there is none."""
    if key in row:
        return row[key]
    value: Any = row
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def thumb(value: Any) -> bool | None:
    """A thumb in any of its usual spellings; None where there is none.

    >>> thumb("up"), thumb(-1), thumb("👎"), thumb(None), thumb("")
    (True, False, False, None, None)

    Raises:
        ValueError: it is said in a way that is not known.
    """
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, dict):
        known = [value[key] for key in ("rating", "value", "thumb", "type") if key in value]
        return thumb(known[0] if known else None)
    word = str(value).strip().lower()
    if word in _UP:
        return True
    if word in _DOWN:
        return False
    raise ValueError(word)


@cache
def _refusals() -> tuple[str, ...]:
    text = files("reward_model.traffic").joinpath("words.toml").read_text("utf-8")
    return tuple(tomllib.loads(text)["refusals"])


def refused(text: str) -> bool:
    """Whether an answer begins as refusals do, by a list of words.

    >>> refused("I’m sorry, but I can't help with that."), refused("抱歉，我无法提供该信息。")
    (True, True)
    >>> refused("Margins fell; I cannot overstate how much.")
    False
    """
    head = text[:_HEAD].lower().replace("’", "'")
    for words in _refusals():  # noqa: SIM110 - half the time of any(...), for every row
        if words in head:
            return True
    return False


NAMED = ("time", "user", "arm", "response", FEEDBACK, "replaces", "latency_ms", "flags")
KEYS = frozenset((*NAMED, REFUSED))
"""Keys of which a row of a log has one at least, unless it has what is measured of it."""


def is_foreign(row: dict[str, Any], keys: Sequence[str] = ()) -> bool:
    """Whether a row says nothing of an answer: none of a log's keys, nor of those asked for.

    >>> is_foreign({"prompt": "p", "chosen": "a", "rejected": "b"}), is_foreign({"user": 7})
    (True, False)
    >>> is_foreign({"score": {"depth": 3}}, ["score.depth"])
    False
    """
    return KEYS.isdisjoint(row) and all(get(row, key) is None for key in keys)


def keys_of(row: dict[str, Any]) -> str:
    """The keys of a row in words, to say what it is."""
    names = [name[:40] for name in row]
    return f"the keys {some_of(names, 6)}" if names else "no keys"


def answer_of(row: dict[str, Any]) -> str | None:
    """The words of the answer: a text, or the content of its last message."""
    value = row.get("response")
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    return value if isinstance(value, str) else None


def user_of(row: dict[str, Any]) -> str | None:
    """The user's id as text; None where there is none."""
    user = row.get("user")
    if user is None or user == "" or isinstance(user, dict | list):
        return None
    return str(user)


def time_of(value: Any, odd: dict[str, int]) -> float:
    """Seconds since 1970 of an ISO time (UTC where it names no zone) or of seconds or milliseconds.

    >>> time_of("2026-11-01T00:00:00Z", {}) == time_of(1793491200, {}) == time_of(1793491200000, {})
    True
    """
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return _odd("time that is no ISO time and no number", odd)
        else:
            if 1 < found.year < 9999:  # a day from either end, another zone has no such time
                return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
            return _odd("time that is no ISO time and no number", odd)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e14:
        return _odd("time that is no ISO time and no number", odd)
    return float(value) / (1000 if value > 1e11 else 1)


def reader(column: Column) -> Callable[[dict[str, Any], dict[str, int]], Any]:
    """Row -> value: 1, 0 or -1 for missing of a share; a float or NaN for missing of a number."""
    read = _share(column) if column.share else _number(column.of)
    if not column.among:
        return read
    missing = -1 if column.share else math.nan

    def among(row: dict[str, Any], odd: dict[str, int]) -> Any:
        for key, wanted in column.among:
            if get(row, key) != wanted:
                return missing
        return read(row, odd)

    return among


def _share(column: Column) -> Callable[[dict[str, Any], dict[str, int]], int]:
    of, above = column.of, column.above
    if of == ROWS:
        return lambda row, odd: 1
    if of == REFUSED:

        def by_words(row: dict[str, Any], odd: dict[str, int]) -> int:
            if isinstance(row.get(REFUSED), bool):
                return int(row[REFUSED])
            text = answer_of(row)
            return -1 if text is None else int(refused(text))

        return by_words
    if of == FEEDBACK and above is None:

        def by_thumb(row: dict[str, Any], odd: dict[str, int]) -> int:
            value = row.get(FEEDBACK)
            if value is None:
                return -1
            try:
                up = thumb(value)
            except ValueError:
                _odd(f"{FEEDBACK} that is neither up nor down", odd)
                return -1
            return -1 if up is None else int(up)

        return by_thumb

    def by_value(row: dict[str, Any], odd: dict[str, int]) -> int:
        value = get(row, of)
        if value is None:
            return -1
        if above is not None and type(value) in (int, float) and math.isfinite(value):
            return int(value > above)
        if value in (True, False):  # 0 and 1 equal them
            return int(value)
        _odd(f"{of} that is neither true nor false", odd)
        return -1

    return by_value


def _number(of: str) -> Callable[[dict[str, Any], dict[str, int]], float]:
    def by_key(row: dict[str, Any], odd: dict[str, int]) -> float:
        value = get(row, of)
        if value is None:
            return math.nan
        if isinstance(value, int | float):
            try:
                value = float(value)
            except OverflowError:
                value = math.nan
            if math.isfinite(value):
                return value
        return _odd(f"{of} that is no finite number", odd)

    return by_key


def _odd(words: str, odd: dict[str, int]) -> float:
    odd[words] = odd.get(words, 0) + 1
    return math.nan
