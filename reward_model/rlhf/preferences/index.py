"""What `reward-model prefer` reads: completions of prompts, in any of the usual shapes of rows.

`read_index(path, by)` checks the whole file and notes where the rows of each prompt lie;
`index.groups()` then reads one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reward_model.data.columns import ColumnMap
from reward_model.data.sources import RowSource, find_source
from reward_model.records import (
    Text,
    UserError,
    parse_json,
    read_jsonl,
)
from reward_model.records.rows import KEY, Row, parse_row
from reward_model.records.tables import without_null

By = Literal["model", "reward_model", "scores", "answers"]
"""Where rewards come from: a model, the `reward_model` of the rows, or the judge's `scores` of
pairs or of single answers."""


@dataclass
class Group:
    """All that the file holds of one prompt."""

    key: str
    rows: list[Row]

    @property
    def prompt(self) -> Text:
        """The prompt."""
        return self.rows[0].prompt

    @property
    def completions(self) -> list[Text]:
        """All completions, in the order of the file."""
        return [text for row in self.rows for text in row.completions]


@dataclass
class Index:
    """Where the rows of every prompt lie in the file."""

    source: RowSource
    by: By
    columns: ColumnMap | None = None
    chat: bool = False
    neutral: int = 0
    """Neutral pairs, which are left out."""
    rows: int = 0
    completions: int = 0
    places: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Key of a prompt -> line and byte offset of its rows, prompts in order of appearance."""

    def groups(self) -> Iterator[Group]:
        """Read the rows of one prompt after the other."""
        with self.source.path.open("rb") as file:
            for key, places in self.places.items():
                rows = []
                for number, offset in places:
                    file.seek(offset)
                    body = file.readline().removeprefix(b"\xef\xbb\xbf")
                    rows.append(_row(parse_json(body), self.source, number, self.columns))
                yield Group(key, rows)


def read_index(path: Path, *, model: bool, columns: ColumnMap | None = None) -> Index:
    """Check every row of the file.

    Args:
        path: the file.
        model: whether a model gives the rewards.
        columns: which columns hold the texts, where they have names of their own.

    Raises:
        UserError: naming file and line of the first row that cannot be used.
    """
    index: Index | None = None
    source = find_source(path) if path.exists() else RowSource(path, path)
    for line in read_jsonl(source.path):
        row = _row(line.value, source, line.number, columns)
        if index is None:
            index = Index(source, _by(row, line.value, model, path), columns, chat=row.chat)
        where: dict[str, Any] = {"path": path, "line": line.number}
        if row.chat != index.chat:
            now, before = ("chat messages", "plain text")[:: 1 if row.chat else -1]
            raise UserError(
                f"{now} after rows of {before}",
                expected="one form in the whole file: a column of a data set has one type",
                **where,
            )
        _check(row, index.by, where)
        index.rows += 1
        if row.neutral:
            index.neutral += 1
            continue
        index.completions += len(row.completions)
        # A judge compared the two sides of one pair, and never two pairs with each other.
        key = f"line:{line.number}" if index.by == "scores" else row.key
        if not key:
            raise UserError(
                "completions without a prompt",
                expected="prompt, or prompt_id to tell which belong together",
                **where,
            )
        index.places.setdefault(key, []).append((line.number, line.offset))
    assert index is not None  # an empty file is an error of read_jsonl
    return index


def _row(value: dict[str, Any], source: RowSource, number: int, columns: ColumnMap | None) -> Row:
    def read(row: Mapping[str, Any], **where: Any) -> Row:
        return parse_row(columns.named(row, where) if columns else row, **where)

    if not source.converted:
        return read(value, path=source.shown, line=number)
    try:
        return read(without_null(value))
    except UserError as error:
        found = f"{error.found} in row {number}"
        raise UserError(
            found, expected=error.expected, mend=error.mend, path=source.shown
        ) from None


def _by(row: Row, value: Mapping[str, Any], model: bool, path: Path) -> By:
    if model:
        return "model"
    if any(known is not None for known in row.known):
        return "reward_model"
    if value.get("scores") is not None:
        return "scores" if row.scores is not None else "answers"
    raise UserError(
        "neither scores of a judge nor of a model in the first row",
        expected=f"rows with scores or {KEY}, or a model to score them with",
        mend="reward-model prefer MODEL COMPLETIONS --out PREFS",
        path=path,
    )


def _check(row: Row, by: By, where: Mapping[str, Any]) -> None:
    if by == "reward_model" and not row.neutral:
        for known in row.known:
            reward = _in_share(known) if isinstance(known, dict) else ...
            if reward is not None and (isinstance(reward, bool) or not _is_share(reward)):
                raise UserError(
                    f"no score in {KEY}" if reward is ... else f"reward {reward!r} in {KEY}",
                    expected="what reward-model score wrote for every completion",
                    mend="score the file again, or name the model before it",
                    **where,
                )
    if by == "scores" and row.scores is None:
        raise UserError(
            "no scores of a pair", expected="scores on every row, as on the first one", **where
        )
    if by == "answers" and not (row.levels and all(map(_is_levels, row.levels))):
        raise UserError(
            "no scores of an answer",
            expected="on every row what judge score writes: for each completion a level or null "
            "by dimension",
            **where,
        )


def _is_levels(value: Any) -> bool:
    return isinstance(value, dict) and all(
        level is None or (isinstance(level, int) and not isinstance(level, bool))
        for level in value.values()
    )


def _in_share(known: Mapping[str, Any]) -> Any:
    """The reward in [0, 1], also of scores whose reward is centred."""
    return known.get("uncentered", known.get("reward", ...))


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def texts_of(groups: Sequence[Group]) -> tuple[list[Text], list[Text]]:
    """Prompts and completions of several groups, side by side."""
    flat = [(group.prompt, text) for group in groups for text in group.completions]
    return [prompt for prompt, _ in flat], [text for _, text in flat]
