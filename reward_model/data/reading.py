"""From a file of any known form to labelled texts, and the rubric to read it with."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from reward_model.data.columns import ColumnMap
from reward_model.data.formats import records_of, rubric_of
from reward_model.data.sample import Sample, samples_of
from reward_model.data.samples import Columns, Samples
from reward_model.data.sources import RowSource, find_source
from reward_model.records import IGNORE, UserError, read_jsonl
from reward_model.records.files import Pathish
from reward_model.records.tables import without_null
from reward_model.rubrics import Rubric, load_rubric, shipped_rubrics


def read_samples(
    path: Pathish,
    rubric: Rubric,
    *,
    columns: ColumnMap | None = None,
    soft: bool = False,
    cache_dir: str | None = None,
) -> tuple[Samples, int]:
    """Every labelled text of a file, in order, and how many rows carry no label at all.

    The file is read once, row by row; texts stay on the disk.

    Args:
        path: scored pairs or single responses, rows of HelpSteer or UltraFeedback, in JSON Lines,
            Parquet or CSV; a folder of such files; or the id of a data set of the hub.
        rubric: dimensions and scale.
        columns: which columns hold what, for rows of another shape.
        soft: keep the shares of the levels that the judge's draws gave, beside the level.
        cache_dir: where rows that are not JSON Lines are kept, as in the settings of training.

    Raises:
        UserError: naming file and line: a record that is not one, a level or a dimension that is
            not of the rubric; or a file without a single label.
    """
    source = _source(path, columns, cache_dir)

    def opened(value: Any, number: int | None) -> list[Sample]:
        where: dict[str, Any] = {"path": source.shown, "line": number}
        try:
            return [
                sample
                for record in _records(value, rubric, columns, source, where)
                for sample in samples_of(record, rubric, source.shown, number, soft=soft)
            ]
        except UserError as error:
            if not source.converted:
                raise
            row = f"{error.found} in row {number}"
            raise UserError(
                row, expected=error.expected, mend=error.mend, path=source.shown
            ) from None

    table = Columns(
        source.path,
        opened,
        len(rubric.names),
        shown=source.shown,
        classes=rubric.classes if soft else 0,
        layout=columns.digest if columns else "",
        holder=source.folder,
    )
    bare = 0
    for line in read_jsonl(source.path):
        new = opened(line.value, line.number)
        if any(label != IGNORE for sample in new for label in sample.labels):
            table.add(new, line)
        else:
            bare += 1
    samples = Samples(table.close())
    if not samples:
        raise UserError(
            "no level on any line" if bare else "no record",
            expected=f"scores for {', '.join(rubric.names)}",
            mend="score the pairs first: judge score PAIRS --out SCORED",
            path=source.shown,
        )
    return samples, bare


def find_rubric(
    path: Pathish,
    name_or_path: str | None = None,
    *,
    columns: ColumnMap | None = None,
    cache_dir: str | None = None,
) -> Rubric:
    """The rubric to read a file with: the one asked for, else the one its column map or its judge
    names, or its format has, else `financial_report`.

    Raises:
        UserError: the judge's rubric does not ship, so it has to be given.
    """
    wanted = name_or_path or (columns.rubric if columns else None)
    if wanted:
        return load_rubric(wanted)
    source = _source(path, columns, cache_dir)
    named = judge_rubric(path, columns=columns, cache_dir=cache_dir)
    if named is not None:
        name = named.split("@")[0]
        if name not in shipped_rubrics():
            raise UserError(
                f"levels of the rubric {named}, which does not ship",
                expected="the file of that rubric",
                mend="pass --rubric FILE, or the name of a shipped one to read the levels by",
                path=source.shown,
            )
        return load_rubric(name)
    for line in itertools.islice(read_jsonl(source.path), 1):
        row = (
            columns.named(line.value, {"path": source.shown, "line": 1}) if columns else line.value
        )
        if (known := rubric_of(row)) is not None:
            return load_rubric(known)
    return load_rubric("financial_report")


def judge_rubric(
    path: Pathish, *, columns: ColumnMap | None = None, cache_dir: str | None = None
) -> str | None:
    """`name@digest` of the rubric that the first scored line was judged by, if a judge says so."""
    for line in read_jsonl(_source(path, columns, cache_dir).path):
        scores = line.value.get("scores")
        if isinstance(scores, dict | list):
            inside = scores.get("judge") if isinstance(scores, dict) else None
            judge = inside or line.value.get("judge")
            named = judge.get("rubric") if isinstance(judge, dict) else None
            return named if isinstance(named, str) else None
    return None


def _source(path: Pathish, columns: ColumnMap | None, cache_dir: str | None) -> RowSource:
    if columns is None:
        return find_source(path, cache_dir=cache_dir)
    return find_source(path, config=columns.config, split=columns.split, cache_dir=cache_dir)


def _records(
    value: Any,
    rubric: Rubric,
    columns: ColumnMap | None,
    source: RowSource,
    where: dict[str, Any],
) -> Iterable[Mapping[str, Any]]:
    if columns is not None and columns.has_levels:
        return [columns.record(value, rubric, where)]
    row = without_null(value) if source.converted else value
    return records_of(columns.named(row, where) if columns else row, where)
