"""A column map: a small TOML file that says which columns of a data set hold texts and levels.

`read_columns("columns.toml").record(row, rubric, where)` makes a record of a row of any shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reward_model.data.formats import whole_number
from reward_model.records import UserError, digest
from reward_model.records.files import Pathish
from reward_model.records.settings import read_settings
from reward_model.rubrics import Rubric

Levels = dict[str, str]
"""Dimension -> column."""


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
        if self.response:
            if self.chosen or self.rejected or self.chosen_levels or self.rejected_levels:
                raise ValueError("either response with levels, or chosen and rejected, not both")
            if not self.levels:
                raise ValueError("response needs a [levels] table: dimension = column")
        else:
            if not (self.chosen and self.rejected):
                raise ValueError("name the columns of response, or of chosen and rejected")
            if self.levels or not (self.chosen_levels and self.rejected_levels):
                raise ValueError("pairs need [chosen_levels] and [rejected_levels], not [levels]")
        return self

    @property
    def digest(self) -> str:
        """Fingerprint of the map."""
        return digest(self.model_dump(mode="json"))

    def record(
        self, row: Mapping[str, Any], rubric: Rubric, where: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The record of a row.

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
        return {**record, "metadata": metadata}


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


def read_columns(path: Pathish) -> ColumnMap:
    """Read a column map.

    Raises:
        UserError: every mistake in the file at once.
    """
    return read_settings(path, ColumnMap, "a column map as docs/formats.md describes")
