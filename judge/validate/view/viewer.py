"""The pairs a page shows side by side: which, and everything about them as JSON for its script."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from judge.validate.report import Report
from judge.validate.sample import read_rows
from judge.validate.table import Table, degradation_of
from judge.validate.view.diff import mark, segments
from reward_model.records import SIDES, Pair, as_text

MOST = 120
"""Pairs in a page: some five seconds of comparing and a few megabytes at most."""
PROBLEMS, MISSED = 25, 20
"""Of problem pairs and of missed errors, so many are listed, and all of these can be looked at."""
LONGEST = 12_000
"""Characters shown of a response."""
PROMPT = 2_000


def viewer_pairs(table: Table, report: Report, seed: int) -> list[dict[str, Any]]:
    """Sampled pairs in the order of the file."""
    rows = choose(table, report, seed)
    problems = {problem.line: problem.reasons for problem in report.problems.listed}
    pairs = read_rows(table, rows)
    return [_describe(table, row, pairs[row], problems) for row in rows]


def choose(table: Table, report: Report, seed: int, most: int = MOST) -> list[int]:
    """Up to a third problem pairs, then pairs with missed errors, then every kind in turn."""
    rng = random.Random(f"{seed}:viewer")
    row_of = {int(line): row for row, line in enumerate(table.lines)}
    taken: dict[int, None] = {}

    def take(candidates: list[int], limit: int) -> None:
        rng.shuffle(candidates)
        for row in candidates[:limit]:
            taken[row] = None

    problems = [row_of[p.line] for p in report.problems.listed]
    missed = [row_of[m.line] for m in report.planted.missed]
    take(problems[:PROBLEMS], most // 3)
    take(list(dict.fromkeys(missed[:MISSED])), most // 6)
    take([row for row in problems if row not in taken], max(0, most // 3 - len(taken)))
    kinds = np.where(table.neutral, -2, table.degradation) * 100 + table.severity
    queues = []
    for kind in np.unique(kinds):
        queue = np.flatnonzero(kinds == kind).tolist()
        rng.shuffle(queue)
        queues.append(queue)
    while len(taken) < most and any(queues):
        for queue in queues:
            if queue and len(taken) < most:
                taken[queue.pop()] = None
    return sorted(taken)


def _describe(table: Table, row: int, pair: Pair, problems: dict[int, list[str]]) -> dict[str, Any]:
    line = int(table.lines[row])
    prompt = as_text(pair.prompt)
    texts = [as_text(pair.chosen), as_text(pair.rejected)]
    chosen, rejected = segments(texts[0][:LONGEST], texts[1][:LONGEST])
    defect = pair.metadata.defect_metadata
    errors = defect.planted if defect else ()
    name, targets = degradation_of(pair, table.rubric)
    return {
        "line": line,
        "id": pair.id,
        "kind": "neutral" if pair.is_neutral else (name or "no degradation named"),
        "severity": defect.severity if defect else None,
        "targets": targets,
        "language": pair.metadata.language,
        "about": [v for v in (pair.metadata.field, pair.metadata.company) if v],
        "prompt": prompt[:PROMPT],
        "prompt_cut": max(0, len(prompt) - PROMPT),
        "chosen": chosen,
        "rejected": mark(rejected, (error.where for error in errors)),
        "cut": [max(0, len(text) - LONGEST) for text in texts],
        "planted": [{"was": e.was, "now": e.now, "error": e.error} for e in errors],
        "problems": problems.get(line, []),
        "scores": _scores(table, pair),
        "assessment": pair.scores.overall_assessment if pair.scores else None,
    }


def _scores(table: Table, pair: Pair) -> list[dict[str, Any]]:
    scores = pair.scores
    if scores is None:
        return []
    return [
        {
            "dimension": name,
            "levels": [scores.side(side).get(name) for side in SIDES],
            "reasons": [scores.reason(side, name) for side in SIDES],
        }
        for name in table.names
    ]
