"""`judge import-review`: people's answers back into a scored file, each checked.

The result has the reviewed pairs with the people's levels as their scores, so that `judge agree
SCORED human.jsonl` compares them with the judge.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

from judge.review.argilla import question
from judge.review.export import LETTERS, Format, codes, sides_of
from reward_model.records import (
    UserError,
    check_outputs,
    dump_json,
    explain_os_error,
    parse_json,
    writing,
)
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric, load_rubric

MOST_SHOWN = 8
_DIGITS = re.compile(r"[0-9]+")


class Answer(NamedTuple):
    """One reviewed row."""

    place: str
    """Where it stands in the file, for messages."""
    code: str
    cells: dict[str, str]
    """What stands in the columns of the levels, and in `comment`."""


def import_review(
    scored: Path,
    review: Path,
    out: Path,
    *,
    rubric_name: str = "financial_report",
    form: Format = "csv",
    user: str | None = None,
) -> None:
    """Check a review and write its levels as scores.

    Args:
        user: of an Argilla file, whose responses to take.

    Raises:
        UserError: naming every cell that is wrong by row and column; nothing is written.
    """
    if user is not None and form != "argilla":
        raise UserError("--user without --format argilla", expected="it with a file of Argilla's")
    rubric = load_rubric(rubric_name)
    check_outputs({"--out": out}, (scored, review, rubric_name))
    known = {code for code, _ in codes(scored)}
    columns = [f"{letter} {name}" for name in rubric.names for letter in LETTERS]
    data = _read(review)
    if form == "argilla":
        answers = _from_argilla(data, review, columns, user)
    else:
        answers = _from_csv(data, review, columns)
    levels = _check(answers, review, known, columns, rubric)
    comments = {answer.code: answer.cells.get("comment", "").strip() for answer in answers}
    if not levels:
        raise UserError("no answer", expected="at least one level", path=review)
    with writing(out) as file:
        for code, value in codes(scored):
            if code in levels:
                value["scores"] = _scores(code, levels[code], comments[code], rubric, review)
                file.write(dump_json(value).encode() + b"\n")
    empty = sum(level is None for row in levels.values() for level in row.values())
    console().print(
        f"{out}: {len(levels)} of {len(answers)} rows have answers"
        + (f", {empty} of their cells are empty and null" if empty else ""),
        markup=False,
    )


def _scores(
    code: str, levels: dict[str, int | None], comment: str, rubric: Rubric, review: Path
) -> dict[str, Any]:
    scores: dict[str, Any] = {
        side: {name: levels[f"{letter} {name}"] for name in rubric.names}
        for letter, side in zip(LETTERS, sides_of(code), strict=True)
    }
    scores = {"chosen": scores["chosen"], "rejected": scores["rejected"]}
    scores["judge"] = {"model": "human", "rubric": rubric.id, "review": review.name}
    if comment:
        scores["overall_assessment"] = comment
    return scores


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise explain_os_error(error, path) from None
    except UnicodeDecodeError:
        raise UserError(
            "bytes that are not UTF-8",
            expected="UTF-8",
            mend='save the sheet as "CSV UTF-8"',
            path=path,
        ) from None


def _from_csv(text: str, path: Path, columns: list[str]) -> list[Answer]:
    """Rows of a sheet that was saved with commas, semicolons or tabs."""
    if not text.strip():
        raise UserError("an empty file", expected="a review", path=path)
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    csv.field_size_limit(1 << 30)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(f"a broken table ({error})", expected="CSV", path=path) from None
    names = [name.strip() for name in rows[0]]
    needed = ["id", *columns]
    lost = [name for name in needed if name not in names]
    twice = sorted({name for name in needed if names.count(name) > 1})
    if lost or twice:
        found = f"no column {', '.join(lost)}" if lost else f"column {', '.join(twice)} twice"
        raise UserError(f"{found} in row 1", expected="the columns of the export", path=path)
    answers = []
    for number, row in enumerate(rows[1:], 2):
        cells = dict(zip(names, row, strict=False))
        if any(cell.strip() for cell in row):
            answers.append(Answer(f"row {number}", cells.get("id", "").strip(), cells))
    return answers


def _from_argilla(text: str, path: Path, columns: list[str], user: str | None) -> list[Answer]:
    """Records as Argilla writes them, with the responses of one person."""
    try:
        records = parse_json(text)
    except ValueError as error:
        raise UserError(f"broken JSON ({error})", expected="Argilla's records", path=path) from None
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise UserError("no list of records", expected="what records.to_json writes", path=path)
    wanted = {question(column): column for column in [*columns, "comment"]}
    answers, users = [], set()
    for number, record in enumerate(records, 1):
        cells: dict[str, str] = {}
        responses = record.get("responses") or {}
        if not isinstance(responses, dict):
            raise UserError(
                f"responses that are no object in record {number}",
                expected="what records.to_json writes",
                path=path,
            )
        for name, given in responses.items():
            for response in given if isinstance(given, list) else []:
                who = str(response.get("user_id")) if isinstance(response, dict) else ""
                if name not in wanted or (user is not None and who != user):
                    continue
                users.add(who)
                value = response.get("value")
                cells[wanted[name]] = "" if value is None else str(value)
        answers.append(Answer(f"record {number}", str(record.get("id", "")), cells))
    if len(users) > 1:
        raise UserError(
            f"responses of {len(users)} people ({', '.join(sorted(users))})",
            expected="those of one",
            mend="name one with --user and import each into a file of its own",
            path=path,
        )
    return answers


def _check(
    answers: list[Answer], path: Path, known: set[str], columns: list[str], rubric: Rubric
) -> dict[str, dict[str, int | None]]:
    """Levels of the rows that have any, by code; all mistakes in one message."""
    mistakes: list[str] = []
    levels: dict[str, dict[str, int | None]] = {}
    places: dict[str, str] = {}
    for answer in answers:
        if answer.code not in known:
            mistakes.append(f"{answer.place}, column id: {answer.code!r} is not in the scored file")
        elif answer.code in places:
            mistakes.append(
                f"{answer.place}, column id: {answer.code} stands in {places[answer.code]} too"
            )
        places.setdefault(answer.code, answer.place)
        row: dict[str, int | None] = {}
        for column in columns:
            cell = answer.cells.get(column, "").strip()
            fits = _DIGITS.fullmatch(cell) and len(cell) < 4 and int(cell) <= rubric.scale
            if cell and not fits:
                shown = cell if len(cell) <= 20 else cell[:17] + "..."
                mistakes.append(f"{answer.place}, column {column}: {shown!r}")
            row[column] = int(cell) if fits else None
        if any(level is not None for level in row.values()):
            levels[answer.code] = row
    if mistakes:
        more = len(mistakes) - MOST_SHOWN
        raise UserError(
            "; ".join(mistakes[:MOST_SHOWN]) + (f"; and {more} more" if more > 0 else ""),
            expected=f"ids of the export once each, and whole numbers from 0 to {rubric.scale} or "
            "empty cells",
            path=path,
        )
    return levels
