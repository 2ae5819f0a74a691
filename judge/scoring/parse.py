"""From a judge's reply to levels, strictly: what is not certain is not a level.

`parse_reply(text, ["depth"], scale=4)` gives levels, reasons, and for each level it does not give
the cause, one of `CAUSES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

from reward_model.records.chat.marks import answer_of

Cause = Literal[
    "parse",
    "refused",
    "truncated",
    "failed",
    "out_of_range",
    "not_integer",
    "missing",
    "extra",
    "no_answer",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)
"""Why a level is missing. `failed`: the provider gave no reply, and the call is owed.
`refused`: it will not answer. `truncated`: the reply was cut. `parse`: no single JSON object.
`out_of_range`, `not_integer` (2.5, "3", true): a value that is no level. `missing`: the dimension
was left out or null. `extra`: dimensions nobody asked for, so the question was not understood.
`no_answer`: the text ends within its thought, so nobody was asked about it."""

_ALONE = re.compile(r"\s*(?:```(?:json)?\s*)?\{.*\}\s*(?:```\s*)?", re.S)
_REFUSAL = re.compile(
    r"\b(?:I(?:'m| am) sorry|I (?:can(?:no|')t|am (?:not able|unable))|I won't|as an AI)\b"
    r"|抱歉|对不起|无法(?:提供|协助|完成|回答|评)|不能(?:提供|协助|回答)",
    re.I,
)


class Verdicts(NamedTuple):
    """What a reply says of each dimension asked for."""

    levels: dict[str, int | None]
    reasons: dict[str, str | None]
    problems: dict[str, Cause]
    """Cause of every level that is None."""

    @property
    def whole(self) -> bool:
        """Every level asked for is there."""
        return not self.problems


def unanswered(dimensions: Sequence[str], cause: Cause) -> Verdicts:
    """No level at all, for one cause."""
    return Verdicts(
        dict.fromkeys(dimensions), dict.fromkeys(dimensions), dict.fromkeys(dimensions, cause)
    )


def parse_reply(
    text: str, dimensions: Sequence[str], *, scale: int, finish_reason: str = "stop"
) -> Verdicts:
    """Levels of a reply that holds exactly one JSON object, fenced or chatty or not.

    >>> parse_reply('Sure!\\n```json\\n{"levels": {"depth": 3}}\\n```', ["depth"], scale=4).levels
    {'depth': 3}
    >>> parse_reply('{"levels": {"depth": 2.5}}', ["depth"], scale=4).problems
    {'depth': 'not_integer'}
    """
    found = _only_object(text, finish_reason)
    if found is None or not isinstance(found.get("levels"), dict):
        return unanswered(dimensions, _why(text, finish_reason))
    return _verdicts(found["levels"], found.get("reasoning"), dimensions, scale)


def parse_comparison(
    text: str,
    dimensions: Sequence[str],
    *,
    scale: int,
    names: Sequence[str],
    finish_reason: str = "stop",
) -> tuple[Verdicts, ...]:
    """The same for several texts in one reply, in the order of their `names`.

    >>> reply = '{"levels": {"A": {"depth": 3}, "B": {"depth": 1}}}'
    >>> [v.levels for v in parse_comparison(reply, ["depth"], scale=4, names=["A", "B"])]
    [{'depth': 3}, {'depth': 1}]
    """
    found = _only_object(text, finish_reason)
    levels = found.get("levels") if found is not None else None
    if found is None or not isinstance(levels, dict):
        return (unanswered(dimensions, _why(text, finish_reason)),) * len(names)
    if set(levels) - set(names):
        return (unanswered(dimensions, "extra"),) * len(names)
    reasons = found.get("reasoning")
    reasons = reasons if isinstance(reasons, dict) else {}
    return tuple(
        _verdicts(levels[name], reasons.get(name), dimensions, scale)
        if isinstance(levels.get(name), dict)
        else unanswered(dimensions, "missing")
        for name in names
    )


def _only_object(text: str, finish_reason: str) -> dict[str, Any] | None:
    """The single JSON object of a reply; None where there is none or more than one, and where a
    reply that was cut off holds more than the object: that may be a draft."""
    said = answer_of(text)
    if said is None or (finish_reason == "length" and not _ALONE.fullmatch(said)):
        return None
    try:
        found = list(_objects(said))
    except (ValueError, RecursionError):
        return None
    return found[0] if len(found) == 1 else None


def _verdicts(
    levels: dict[str, Any], reasons: object, dimensions: Sequence[str], scale: int
) -> Verdicts:
    if set(levels) - set(dimensions):
        return unanswered(dimensions, "extra")
    verdicts = Verdicts({}, _reasons(reasons, dimensions), {})
    for name in dimensions:
        value = levels.get(name)
        problem = _problem(value, scale)
        verdicts.levels[name] = None if problem else value
        if problem:
            verdicts.problems[name] = problem
    return verdicts


def _problem(value: object, scale: int) -> Cause | None:
    if value is None:
        return "missing"
    if not isinstance(value, int) or isinstance(value, bool):
        return "not_integer"
    return None if 0 <= value <= scale else "out_of_range"


def _reasons(value: object, dimensions: Sequence[str]) -> dict[str, str | None]:
    if isinstance(value, str) and len(dimensions) == 1:
        return {dimensions[0]: value}
    own = value if isinstance(value, dict) else {}
    texts = {name: own.get(name) for name in dimensions}
    return {name: text if isinstance(text, str) else None for name, text in texts.items()}


def _why(text: str, finish_reason: str) -> Cause:
    if finish_reason == "content_filter":
        return "refused"
    if finish_reason == "length" or answer_of(text) is None:
        return "truncated"
    return "refused" if "{" not in text and _REFUSAL.search(text) else "parse"


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of a text; none when a brace opens anything else.

    An object inside a broken one may be anything, so it is not looked for.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    at = text.find("{")
    while at >= 0:
        value, end = decoder.raw_decode(text, at)
        yield value
        at = text.find("{", end)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
