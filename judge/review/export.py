"""`judge export-review`: a blind sample of scored pairs for people to grade in a spreadsheet.

The sample is spread over degradations and over how much the judge disagreed with itself. A row is
known by a code; which text is which follows from the code, so the file gives nothing away.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from judge.review.argilla import MOST_RATING, dataset_settings, record
from judge.scoring.prompt import Language, capped, text_language
from judge.scoring.rows import RowFile
from reward_model.records import (
    SIDES,
    Pair,
    Scores,
    Side,
    UserError,
    as_text,
    check_outputs,
    digest,
    read_jsonl,
    write_json,
    write_text,
    writing,
)
from reward_model.records.rows import parse_pair
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric, load_rubric, say

Format = Literal["csv", "argilla"]
LONGEST_CELL = 32_000
"""Spreadsheets cut or refuse a cell of more than 32,767 characters."""
LETTERS = ("A", "B")
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def code_of(key: str) -> str:
    """Name of a pair in a review, from which its id cannot be read."""
    return f"r{digest(['review', key])}"


def sides_of(code: str) -> tuple[Side, Side]:
    """The sides that are text A and text B of a row."""
    return SIDES if int(digest(["order", code]), 16) % 2 else (SIDES[1], SIDES[0])


def safe_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula, nor cuts.

    >>> safe_cell("=1+1"), safe_cell("Sales rose.")
    ("'=1+1", 'Sales rose.')
    """
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return capped(f"'{text}" if _FORMULA.match(text) else text, LONGEST_CELL)


class ReviewRow(NamedTuple):
    """A pair that is to be reviewed."""

    code: str
    pair: Pair


def export_review(
    scored: Path,
    out: Path,
    *,
    n: int = 60,
    seed: int = 0,
    rubric_name: str = "financial_report",
    form: Format = "csv",
    show_levels: bool = False,
) -> None:
    """Write a sample of a scored file for people.

    Raises:
        UserError: no scored pairs, or an output that is there already: it may hold answers.
    """
    rubric = load_rubric(rubric_name)
    check_outputs(
        {
            "--out with .config.json": _beside(out, "config"),
            "--out with .settings.json": _beside(out, "settings"),
            "--out with .guide.md": out.with_name(out.name + ".guide.md"),
        },
        (scored, rubric_name),
    )
    if out.exists():
        raise UserError(
            "a folder" if out.is_dir() else "a file that is there already",
            expected="a new file",
            mend="choose another --out: this one may hold answers",
            path=out,
        )
    if form == "argilla" and rubric.scale > MOST_RATING:
        raise UserError(
            f"levels up to {rubric.scale}",
            expected=f"at most {MOST_RATING}, which is where Argilla's ratings end",
            mend="use --format csv",
        )
    file = RowFile(scored)
    rows = [_row(file, number) for number in sample(file, rubric, n, seed)]
    languages = sorted({text_language(as_text(row.pair.chosen)) for row in rows})
    meaning = "\n".join(guide(rubric, language) for language in languages)
    names = [f"{letter} {name}" for name in rubric.names for letter in LETTERS]
    if form == "argilla":
        records = [_argilla(row, rubric, show_levels) for row in rows]
        write_json(out, records)
        write_json(_beside(out, "settings"), dataset_settings(rubric, meaning))
    else:
        shown = [f"judge {name}" for name in names] if show_levels else []
        cut = _write_long(rows, out.with_name(out.name + ".texts"))
        table = io.StringIO()
        lines = csv.writer(table, lineterminator="\r\n")
        lines.writerow(["id", "prompt", "text A", "text B", *names, "comment", *shown])
        for row in rows:
            texts = [safe_cell(as_text(row.pair.side(side))) for side in sides_of(row.code)]
            levels = _levels(row, rubric) if show_levels else {}
            prompt = safe_cell(as_text(row.pair.prompt))
            answers = [""] * (len(names) + 1)
            given = [_level_cell(levels.get(name)) for name in names] if show_levels else []
            lines.writerow([row.code, prompt, *texts, *answers, *given])
        with writing(out) as stream:
            stream.write(b"\xef\xbb\xbf" + table.getvalue().encode())
        write_text(out.with_name(out.name + ".guide.md"), meaning)
        if cut:
            console().print(
                f"{cut} texts are too long for a cell, which shows head and tail; they stand "
                f"whole in {out.name}.texts",
                markup=False,
            )
    write_json(
        _beside(out, "config"),
        {
            "command": "judge export-review",
            "settings": {"n": n, "seed": seed, "format": form, "show_levels": show_levels},
            "rubric": rubric.id,
            "scored": {"digest": file.digest, "rows": len(file)},
        },
    )
    console().print(
        f"{len(rows)} of {len(file)} pairs in {out}; levels are whole numbers from 0 to "
        f"{rubric.scale}, an empty cell is no answer",
        markup=False,
    )


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f"{out.name}.{what}.json")


def _write_long(rows: Sequence[ReviewRow], folder: Path) -> int:
    """Write the texts that no cell can hold into files of their own; how many there are."""
    cut = 0
    for row in rows:
        first, second = (as_text(row.pair.side(side)) for side in sides_of(row.code))
        for name, text in (("prompt", as_text(row.pair.prompt)), ("A", first), ("B", second)):
            if len(text) > LONGEST_CELL:
                write_text(folder / f"{row.code}.{name}.txt", text)
                cut += 1
    return cut


def _row(file: RowFile, number: int) -> ReviewRow:
    pair = parse_pair(file[number])
    return ReviewRow(code_of(pair.key), pair)


def sample(file: RowFile, rubric: Rubric, n: int, seed: int) -> list[int]:
    """Numbers of the pairs to review, in random order.

    One of each stratum in turn: a degradation (or neutral) by no, some or much disagreement. Of
    pairs with the same key the first alone can be told apart from the others again.
    """
    found: list[tuple[int, str, float]] = []
    seen: set[str] = set()
    for number, line in enumerate(read_jsonl(file.path)):
        where: dict[str, Any] = {"path": file.path, "line": line.number}
        pair = parse_pair(line.value, **where)
        if pair.scores is None:
            continue
        for side in SIDES:
            rubric.check_levels(pair.scores.side(side), where=f"scores.{side}", **where)
        if pair.key not in seen:
            seen.add(pair.key)
            found.append((number, _degradation(pair), disagreement(pair.scores)))
    if not found:
        raise UserError(
            "no scores", expected="scored pairs", mend="run judge score", path=file.path
        )
    positive = [value for *_, value in found if value > 0]
    middle = median(positive) if positive else 0.0
    strata: dict[tuple[str, int], list[int]] = {}
    for number, degradation, value in found:
        strata.setdefault((degradation, (value > 0) + (value > middle)), []).append(number)
    rng = random.Random(f"{seed}:review")
    lots = [rng.sample(lot, len(lot)) for _, lot in sorted(strata.items())]
    rng.shuffle(lots)
    taken: list[int] = []
    while lots and len(taken) < n:
        taken += [lot.pop() for lot in lots]
        lots = [lot for lot in lots if lot]
    taken = taken[:n]
    rng.shuffle(taken)
    return taken


def _degradation(pair: Pair) -> str:
    made = pair.metadata.defect_metadata
    return "neutral" if pair.is_neutral else (made.degradation_type if made else None) or ""


def disagreement(scores: Scores) -> float:
    """How far the draws of a pair lie apart, in levels; 1 more where orders disagree."""
    if scores.judge is None:
        return 0.0
    spread = [value for side in (scores.judge.spread or {}).values() for value in side.values()]
    swap = (scores.judge.model_extra or {}).get("swap") or {}
    turned = isinstance(swap, dict) and any(
        isinstance(cell, dict) and cell.get("inconsistent") for cell in swap.values()
    )
    return max(spread, default=0.0) + (1.0 if turned else 0.0)


def _levels(row: ReviewRow, rubric: Rubric) -> dict[str, int | None]:
    """What the judge gave, by column."""
    assert row.pair.scores is not None  # the sample has scored pairs alone
    return {
        f"{letter} {name}": row.pair.scores.side(side).get(name)
        for letter, side in zip(LETTERS, sides_of(row.code), strict=True)
        for name in rubric.names
    }


def _level_cell(level: int | None) -> str:
    return "" if level is None else str(level)


def _argilla(row: ReviewRow, rubric: Rubric, show_levels: bool) -> dict[str, Any]:
    first, second = (as_text(row.pair.side(side)) for side in sides_of(row.code))
    levels: dict[str, int | None] = _levels(row, rubric) if show_levels else {}
    judge = row.pair.scores.judge if row.pair.scores else None
    agent = (judge.model if judge else None) or "judge"
    return record(row.code, as_text(row.pair.prompt), first, second, levels, agent)


def guide(rubric: Rubric, language: Language) -> str:
    """What the levels mean, for the people who grade."""
    lines = [f"# {say(rubric.title, language) or rubric.name}", ""]
    for name in rubric.names:
        dimension = rubric.dimension(name)
        lines += [f"## {name}: {say(dimension.title, language)}", ""]
        about = say(dimension.description, language)
        lines += [about, ""] if about else []
        lines += [f"- {level}: {meaning}" for level, meaning in rubric.anchors(name, language)]
        lines.append("")
    return "\n".join(lines)


def codes(scored: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Code and object of each pair that a review can name."""
    seen: set[str] = set()
    for line in read_jsonl(scored):
        pair = parse_pair(line.value, path=scored, line=line.number)
        code = code_of(pair.key)
        if pair.scores is not None and code not in seen:
            seen.add(code)
            yield code, line.value
