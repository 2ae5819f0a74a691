"""Rows of a file to be scored: what they hold, and how their scores are written.

`row_texts(line, path)` gives the responses of a row, `result(...)` is what goes under `KEY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reward_model.records import Line, Text, digest
from reward_model.records.rows import parse_row, unscored
from reward_model.records.tables import is_table, told_of, without_null

if TYPE_CHECKING:
    from reward_model.data.columns import ColumnMap
    from reward_model.score.scorer import Score


class Part(NamedTuple):
    """One response of a row."""

    side: str | None
    """Column of a side, such as `chosen`; empty where the row has a single response, and None where
    it has a list of them."""
    prompt: Text
    response: Text


def row_texts(line: Line, path: Path, columns: ColumnMap | None = None) -> list[Part]:
    """Every response of a row.

    Args:
        line: the row.
        path: its file, for messages.
        columns: which columns hold the texts, where they have names of their own.

    Raises:
        UserError: the row is of no form that is known.
    """
    row = without_null(line.value) if is_table(path) else line.value
    with told_of(path, line.number):
        return parts_of(row, {}, columns)


def parts_of(
    row: Mapping[str, Any], where: Mapping[str, Any], columns: ColumnMap | None = None
) -> list[Part]:
    """Every response of a row; `where` is path and line for messages.

    >>> parts_of({"prompt": "p", "response": "r"}, {})
    [Part(side='', prompt='p', response='r')]
    """
    if columns is not None:
        row = columns.named(row, where)
    found = parse_row(row, **where, several=False)
    names = found.names or [None] * len(found.completions)
    return [
        Part(name, found.prompt, text) for name, text in zip(names, found.completions, strict=True)
    ]


def fingerprint(row: Mapping[str, Any]) -> str:
    """Of all that a row holds but scores."""
    return digest(unscored(row), 24)


def result(parts: Sequence[Part], scores: Sequence[Score]) -> Any:
    """What is written of a row's scores: one, of a pair one for each side, or a list of them."""
    told = [rounded(score.to_json()) for score in scores]
    if parts[0].side == "":
        return told[0]
    if parts[0].side is None:
        return told
    return {part.side: one for part, one in zip(parts, told, strict=True)}


def is_result(value: Any) -> bool:
    """Whether it is what `result` makes, and not a column of somebody else's of that name.

    >>> is_result({"reward": 0.5}), is_result({"style": "rule", "ground_truth": "4"})
    (True, False)
    """
    if isinstance(value, Mapping) and "reward" not in value:
        return bool(value) and all(map(is_result, value.values()))
    if isinstance(value, list):
        return all(map(is_result, value))
    return isinstance(value, Mapping)


def rounded(value: Any) -> Any:
    """Floats to six decimals, which is more than any precision computes alike.

    >>> rounded({"reward": 0.12345678, "levels": {"depth": 3.0000001}})
    {'reward': 0.123457, 'levels': {'depth': 3.0}}
    """
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(kept) for key, kept in value.items()}
    if isinstance(value, list):
        return [rounded(kept) for kept in value]
    return value
