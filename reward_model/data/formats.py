"""Rows of public data sets as records: HelpSteer's and UltraFeedback's are known by their columns.

`records_of(row, where)` gives the records of a row; one of this package's own format is its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reward_model.records import UserError

HELPSTEER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
"""Columns of HelpSteer and HelpSteer2, and dimensions of the rubric `helpsteer`; levels 0 to 4."""
ULTRAFEEDBACK = ("instruction_following", "honesty", "truthfulness", "helpfulness")
"""Aspects of UltraFeedback, and dimensions of the rubric `ultrafeedback`; ratings 1 to 5."""
NOT_RATED = "N/A"
"""What UltraFeedback writes where its judge gave no rating."""


def rubric_of(row: Mapping[str, Any]) -> str | None:
    """Shipped rubric that a row's format calls for.

    >>> rubric_of({"prompt": "", "response": "", "coherence": 3})
    'helpsteer'
    """
    if _is_helpsteer(row):
        return "helpsteer"
    return "ultrafeedback" if _is_ultrafeedback(row) else None


def records_of(row: Mapping[str, Any], where: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The records of a row; `where` is path and line for messages.

    Raises:
        UserError: a rating that is not one of its format, or a format without ratings by aspect.

    >>> row = {"prompt": "p", "response": "r", "helpfulness": 3, "coherence": 4}
    >>> next(records_of(row, {}))["scores"]
    {'helpfulness': 3, 'coherence': 4}
    """
    if _is_helpsteer(row):
        scores = {
            name: whole_number(row[name], name, 0, 4, ("",), where)
            for name in HELPSTEER
            if name in row
        }
        yield {**{k: v for k, v in row.items() if k not in HELPSTEER}, "scores": scores}
    elif _is_ultrafeedback(row):
        yield from _ultrafeedback(row, where)
    elif "chosen-rating" in row or "chosen_avg_rating" in row:
        raise UserError(
            "UltraFeedback's binarized form, which has one mean rating a side",
            expected="a rating for each aspect",
            mend="take the rows with completions and annotations (openbmb/UltraFeedback)",
            **where,
        )
    else:
        yield row


def whole_number(
    raw: Any,
    name: str,
    low: int,
    high: int,
    missing: tuple[str, ...],
    where: Mapping[str, Any],
) -> int | None:
    """A level or rating, None where it is missing; nothing is rounded, cut short or guessed.

    Raises:
        UserError: anything that is no whole number from `low` to `high`.

    >>> whole_number("4", "Rating", 1, 5, ("N/A",), {}), whole_number("N/A", "", 1, 5, ("N/A",), {})
    (4, None)
    """
    if raw is None or (isinstance(raw, str) and raw.strip() in missing):
        return None
    written = isinstance(raw, str) and re.fullmatch(r"\s*[+-]?\d{1,9}\s*", raw)
    whole = isinstance(raw, float) and raw.is_integer()
    number = int(raw) if written or whole else raw
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        known = [repr(word) for word in missing if word]
        raise UserError(
            f"{raw!r} in {name}",
            expected=" or ".join([f"a whole number from {low} to {high}", *known, "nothing"]),
            **where,
        )
    return number


def _is_helpsteer(row: Mapping[str, Any]) -> bool:
    return "response" in row and "scores" not in row and any(name in row for name in HELPSTEER)


def _is_ultrafeedback(row: Mapping[str, Any]) -> bool:
    return "instruction" in row and isinstance(row.get("completions"), list)


def _ultrafeedback(row: Mapping[str, Any], where: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for n, completion in enumerate(row["completions"]):
        place = f"completions.{n}"
        if not isinstance(completion, dict) or "response" not in completion:
            raise UserError(
                f"no response in {place}",
                expected="an object with response and annotations",
                **where,
            )
        annotations = completion.get("annotations") or {}
        scores: dict[str, int | None] = {}
        for name in ULTRAFEEDBACK:
            found = annotations.get(name) if isinstance(annotations, dict) else None
            rating = found.get("Rating") if isinstance(found, dict) else None
            key = f"{place}.annotations.{name}.Rating"
            level = whole_number(rating, key, 1, 5, (NOT_RATED,), where)
            scores[name] = None if level is None else level - 1
        metadata: dict[str, Any] = {}
        if row.get("source") is not None:
            metadata["source"] = row["source"]
        if completion.get("model") is not None:
            metadata["gold_metadata"] = {"model": completion["model"]}
        yield {
            "prompt": row["instruction"],
            "response": completion["response"],
            "scores": scores,
            "metadata": metadata,
        }
