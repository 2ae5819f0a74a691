"""Scored rows as Parquet: the columns of the input as they are, and the scores beside them.

`schema_for(...)` says before anything is scored whether the rows fit into columns;
`write_scored(...)` joins input and scores, a few rows in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_model.records import UserError, writing
from reward_model.records.rows import KEY, unscored
from reward_model.records.tables import ROWS, is_parquet, read_rows

if TYPE_CHECKING:
    import pyarrow

GROUP_ROWS, GROUP_BYTES = 10_000, 64 << 20
"""Of a row group, whichever comes first: few enough for readers, small enough for the memory."""


def score_type(
    dimensions: Sequence[str],
    kinds: Iterable[str | None],
    *,
    ensemble: bool = False,
    familiar: bool = False,
    centered: bool = False,
) -> pyarrow.DataType:
    """The type of the column of scores, the same for every row of a file.

    Args:
        dimensions: of the rubric.
        kinds: sides that the rows of the file have; empty for a single response, None for a list.
        ensemble: scores of several models, which say how far they disagree.
        familiar: scores that say how familiar a text is.
        centered: scores with the reward before it was centred, and each dimension's own.

    Raises:
        UserError: lists of responses beside rows of another form.
    """
    import pyarrow as pa

    def by_dimension(kind: Any) -> Any:
        return pa.struct([(name, kind) for name in dimensions])

    one = [
        ("reward", pa.float64()),
        ("levels", by_dimension(pa.float64())),
        ("probabilities", by_dimension(pa.list_(pa.float64()))),
        ("predicted", by_dimension(pa.int64())),
        ("uncertainty", by_dimension(pa.float64())),
        ("prompt_truncated", pa.bool_()),
        ("response_truncated", pa.bool_()),
        ("reason", pa.string()),
    ]
    if familiar:
        one.append(("familiarity", pa.float64()))
    if ensemble:
        one += [("spread", pa.float64()), ("level_spread", by_dimension(pa.float64()))]
    if centered:
        one += [("uncentered", pa.float64()), ("centered", by_dimension(pa.float64()))]
    found = set(kinds)
    if found == {None}:
        return pa.list_(pa.struct(one))
    if None in found:
        raise UserError(
            "lists of completions and other rows in one file",
            expected="one form, to be written as Parquet",
            mend="name an --out that ends in .jsonl",
        )
    pair = [(side, pa.struct(one)) for side in sorted(filter(None, found))]
    return pa.struct(pair + (one if "" in found else []))


def schema_for(texts: Path, scores: pyarrow.DataType) -> pyarrow.Schema:
    """The columns of the scored file.

    Raises:
        UserError: a column holds values of several types, which Parquet does not have.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if is_parquet(texts):
        known = parquet.ParquetFile(texts).schema_arrow
        at = known.get_field_index(KEY)
        schema = known.remove(at) if at >= 0 else known
    else:
        schema = pa.schema([])
        for rows in _batches(line.value for line in read_rows(texts)):
            for name in dict.fromkeys(key for row in rows for key in unscored(row)):
                schema = _widened(schema, name, [row.get(name) for row in rows], texts)
        _check_fit(texts, schema)
    schema = schema.append(pa.field(KEY, scores))
    try:
        parquet.ParquetWriter(pa.BufferOutputStream(), schema).close()
    except (pa.ArrowException, NotImplementedError) as error:
        first = str(error).partition("\n")[0]
        raise UserError(
            f"a column that Parquet cannot hold ({first})",
            mend="name an --out that ends in .jsonl",
            path=texts,
        ) from None
    return schema


def _widened(schema: Any, name: str, values: list[Any], texts: Path) -> Any:
    import pyarrow as pa

    try:
        new = pa.schema([(name, pa.array(values).type)])
        return pa.unify_schemas([schema, new], promote_options="permissive")
    except (pa.ArrowException, OverflowError):
        raise _several_types(name, texts) from None


def _check_fit(texts: Path, schema: Any) -> None:
    """Large whole numbers do not fit a column that later rows made one of floats."""
    import pyarrow as pa

    for rows in _batches(line.value for line in read_rows(texts)):
        for column in schema:
            try:
                pa.array([row.get(column.name) for row in rows], column.type)
            except pa.ArrowException:
                raise _several_types(column.name, texts) from None


def _several_types(name: str, texts: Path) -> UserError:
    return UserError(
        f"values of several types in {name}",
        expected="one type a column, to be written as Parquet",
        mend="name an --out that ends in .jsonl",
        path=texts,
    )


def write_scored(
    texts: Path, out: Path, schema: pyarrow.Schema, scores: Iterator[Mapping[str, Any]]
) -> None:
    """Write all rows with their scores in row groups of some size, whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    def scored() -> Iterator[Any]:
        for table in _tables(texts, schema):
            own = pa.array([next(scores) for _ in range(len(table))], schema.field(KEY).type)
            columns = [table.column(name) for name in schema.names[:-1]]
            yield pa.table([*columns, own], schema=schema)

    with writing(out) as file, parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(scored()):
            writer.write_table(group)


def _groups(tables: Iterable[Any]) -> Iterator[Any]:
    import pyarrow as pa

    group: list[Any] = []
    rows = size = 0
    for table in tables:
        group.append(table)
        rows, size = rows + len(table), size + table.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.concat_tables(group)
            group, rows, size = [], 0, 0
    if group:
        yield pa.concat_tables(group)


def _tables(texts: Path, schema: pyarrow.Schema) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    if is_parquet(texts):
        for batch in parquet.ParquetFile(texts).iter_batches(ROWS):
            yield pa.table(batch)
        return
    own = schema.remove(len(schema) - 1)
    for rows in _batches(line.value for line in read_rows(texts)):
        yield pa.Table.from_pylist([unscored(row) for row in rows], schema=own)


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(rows, ROWS)):
        yield batch
