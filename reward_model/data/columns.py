"""A column map: which columns of a data set hold texts and levels, in a TOML file or in one line.

`read_columns("columns.toml").record(row, rubric, where)` makes a record of a row of any shape;
`read_columns("prompt=question,response=answer").named(row, where)` gives its texts their names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reward_model.data.formats import HELPSTEER, whole_number
from reward_model.records import UserError, digest
from reward_model.records.files import Pathish
from reward_model.records.forms import PROMPTS
from reward_model.records.rows import KEY
from reward_model.records.settings import parse_settings, read_settings
from reward_model.rubrics import Rubric

Levels = dict[str, str]
"""Dimension -> column."""
_ANSWERS = ("response", "chosen", "rejected", "completions")
_OWN = ("id", "prompt_id", "metadata", "meta", "scores", KEY, *HELPSTEER)
"""Columns of a record that stay where its texts are named."""


class ColumnMap(BaseModel):
    """What a column map says; a column inside another is named with dots: `scores.chosen.depth`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rubric: str | None = None
    """Shipped name or path, where --rubric is not given."""
    config: str | None = None
    """Configuration of a data set of the hub that has several."""
    split: str = "train"
    """Split of a data set that has several."""

    prompt: str | None = None
    """Column of the prompt; none where there are no prompts."""
    response: str | None = None
    """Column of single responses, with `levels`."""
    chosen: str | None = None
    """Column of the better side of a pair, with `chosen_levels`."""
    rejected: str | None = None
    """Column of the worse side, with `rejected_levels`."""
    completions: str | None = None
    """Column of a list of responses, where they are to be scored."""
    levels: Levels = Field(default_factory=dict)
    """Dimension -> column, for responses."""
    chosen_levels: Levels = Field(default_factory=dict)
    """Dimension -> column, for the chosen side."""
    rejected_levels: Levels = Field(default_factory=dict)
    """Dimension -> column, for the rejected side."""
    offset: int = 0
    """Added to every number to give a level: -1 for ratings from 1."""
    missing: tuple[str, ...] = ("",)
    """Texts in a column of levels that mean that there is none, as an empty cell always does."""

    id: str | None = None
    """Column of a key of the record."""
    group: str | None = None
    """Column of what splits keep together: a company, a source; none: the prompt."""
    field: str | None = None
    """Column of the field."""
    language: str | None = None
    """Column of the language."""
    degradation: str | None = None
    """Column of the kind of degradation."""
    severity: str | None = None
    """Column of its severity."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        sides = self.chosen or self.rejected
        levels = self.levels or self.chosen_levels or self.rejected_levels
        if sum(map(bool, (self.response, sides, self.completions))) > 1 or (
            self.response and (self.chosen_levels or self.rejected_levels)
        ):
            raise ValueError("either response with levels, or chosen and rejected, not both")
        if not self.response and (sides or levels) and not (self.chosen and self.rejected):
            raise ValueError("name the columns of response, or of chosen and rejected")
        if not (self.response or sides or self.completions or self.prompt):
            raise ValueError("name the columns of prompt, of response, or of chosen and rejected")
        if sides and levels and (self.levels or not (self.chosen_levels and self.rejected_levels)):
            raise ValueError("pairs need [chosen_levels] and [rejected_levels], not [levels]")
        return self

    @property
    def has_levels(self) -> bool:
        """Whether it names columns of levels; else the levels of a row are its own."""
        return bool(self.levels or self.chosen_levels)

    @property
    def digest(self) -> str:
        """Fingerprint of the map."""
        return digest(self.model_dump(mode="json"))

    def named(self, row: Mapping[str, Any], where: Mapping[str, Any]) -> dict[str, Any]:
        """The row with its texts under the names that this package knows; its levels are its own.

        >>> read_columns("prompt=ask").named({"ask": "Why?", "response": "Since."}, {})
        {'response': 'Since.', 'prompt': 'Why?'}

        Raises:
            UserError: a column that is not there.
        """
        asked = {name: column for name in (*_ANSWERS, "prompt") if (column := getattr(self, name))}
        texts = {name: _value(row, column, where) for name, column in asked.items()}
        if "prompt" in texts and texts["prompt"] is None:
            texts["prompt"] = ""
        own = set(asked.values())
        if set(asked) & set(_ANSWERS):  # what else stands in the row is no text to be judged
            kept_names = _OWN if "prompt" in texts else (*_OWN, *PROMPTS)
            rest = {n: kept for n, kept in row.items() if n in kept_names and n not in own}
        else:
            rest = {name: kept for name, kept in row.items() if name not in own}
        metadata = self._metadata(row, where)
        if self.id:
            rest["id"] = str(_value(row, self.id, where))
        if metadata:
            stored = rest.pop("metadata", None)
            rest["metadata"] = {**(stored if isinstance(stored, Mapping) else {}), **metadata}
        return {**rest, **texts}

    def record(
        self, row: Mapping[str, Any], rubric: Rubric, where: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The record of a row, by columns of levels.

        Raises:
            UserError: a column that is not there, or a level that is not of the rubric.
        """

        def take(column: str) -> Any:
            return _value(row, column, where)

        def levels(columns: Levels) -> dict[str, int | None]:
            low, high = -self.offset, rubric.scale - self.offset
            found = {}
            for name, column in columns.items():
                number = whole_number(take(column), column, low, high, self.missing, where)
                found[name] = None if number is None else number + self.offset
            return found

        record: dict[str, Any] = {}
        if self.id:
            record["id"] = str(take(self.id))
        if self.prompt:
            record["prompt"] = take(self.prompt) or ""
        if self.response:
            record["response"] = take(self.response)
            record["scores"] = levels(self.levels)
        elif self.chosen and self.rejected:
            record["chosen"], record["rejected"] = take(self.chosen), take(self.rejected)
            record["scores"] = {
                "chosen": levels(self.chosen_levels),
                "rejected": levels(self.rejected_levels),
            }
        return {**record, "metadata": self._metadata(row, where)}

    def _metadata(self, row: Mapping[str, Any], where: Mapping[str, Any]) -> dict[str, Any]:
        def take(column: str) -> Any:
            return _value(row, column, where)

        metadata: dict[str, Any] = {}
        for key, column in (
            ("prompt_id", self.group),
            ("field", self.field),
            ("language", self.language),
        ):
            if column and (value := take(column)) not in (None, ""):
                metadata[key] = str(value)
        defect: dict[str, Any] = {}
        if self.degradation and (kind := take(self.degradation)) not in (None, ""):
            defect["degradation_type"] = str(kind)
        if self.severity:
            severity = take(self.severity)
            defect["severity"] = whole_number(severity, self.severity, 1, 99, ("",), where)
        if defect:
            metadata["defect_metadata"] = defect
        return metadata


def _value(row: Mapping[str, Any], column: str, where: Mapping[str, Any]) -> Any:
    found: Any = row
    if column in row:
        found = row[column]
    else:
        for part in column.split("."):
            if not isinstance(found, Mapping) or part not in found:
                raise UserError(
                    f"no column {column}",
                    expected=f"the columns that --columns names; there are {', '.join(row)}",
                    **where,
                )
            found = found[part]
    return None if isinstance(found, float) and math.isnan(found) else found


def read_columns(given: Pathish) -> ColumnMap:
    """Read a column map.

    Args:
        given: a TOML file, or the map in one line: `prompt=question,response=answer`, with a dot
            before a dimension: `levels.depth=d`.

    Raises:
        UserError: every mistake in it at once.

    >>> read_columns("prompt=question,response=answer,levels.depth=d").levels
    {'depth': 'd'}
    """
    line = str(given)
    if "=" not in line or Path(line).exists():
        return read_settings(given, ColumnMap, "a column map as docs/formats.md describes")
    values: dict[str, Any] = {}
    for part in line.split(","):
        name, equals, column = (word.strip() for word in part.partition("="))
        if not (name and equals and column):
            raise UserError(
                f"{part.strip()!r} in --columns {line}",
                expected="NAME=COLUMN, with commas between them: prompt=question,response=answer",
                mend="columns with a comma or an equals sign in their names go into a TOML file",
            )
        table, dot, dimension = name.partition(".")
        if (dimension in values.get(table, {})) if dot else (name in values):
            raise UserError(f"{name} twice in --columns {line}", expected="each name once")
        if dot:
            values.setdefault(table, {})[dimension] = column
        else:
            values[name] = [column] if name == "missing" else column
    return parse_settings(
        values, ColumnMap, "NAME=COLUMN of a column map, as docs/formats.md describes"
    )
