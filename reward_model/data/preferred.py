"""A row of which people said which of two responses is better, in any form that is known.

`preferred(row)` has the better response first; `subset_of(value, row)` is the part of its data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reward_model.records import UserError
from reward_model.records.files import Pathish
from reward_model.records.rows import Row, parse_row


def preferred(
    value: Mapping[str, Any], *, path: Pathish | None = None, line: int | None = None
) -> Row:
    """A row with two responses, the better one first where they are not a tie.

    Raises:
        UserError: it is none, or nobody said which is better.

    >>> row = {"prompt": "p", "response_a": "x", "response_b": "y", "winner": "model_b"}
    >>> preferred(row).completions, preferred({**row, "winner": "tie"}).tied
    (('y', 'x'), True)
    """
    row = parse_row(value, path=path, line=line)
    if row.pair is not None or row.tied:
        return row
    two = row.names is not None and len(row.names) == 2
    raise UserError(
        row.unread or ("two responses, and not which is better" if two else "no two responses"),
        expected="chosen and rejected, or two responses with overall_preference, "
        "preference_strength, winner (model_a, model_b, tie), preference or label",
        path=path,
        line=line,
    )


def subset_of(value: Mapping[str, Any], row: Row) -> str:
    """The part of a data set that a row is of: its `subset` or `domain`, or what its metadata says
    of a bias or degradation; empty where nothing does.

    >>> pair = {"chosen": "a", "rejected": "b", "metadata": {"bias_type": "gender"}}
    >>> subset_of(pair, parse_row(pair))
    'gender'
    """
    found = value.get("subset") or value.get("domain")
    if not found and row.pair is not None:
        metadata = row.pair.metadata
        extra = metadata.model_extra or {}
        found = extra.get("subset") or extra.get("bias_type")
        if not found and metadata.defect_metadata is not None:
            found = metadata.defect_metadata.degradation_type
    return str(found or "")
