"""`judge calibrate`: how a judge does where the truth is known.

Code plants errors of every kind into good reports; the same reports untouched and reformatted are
the controls. A judge that misses errors, or finds some in clean text, cannot label accuracy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from judge.calibrate.controls import Case, make_case
from judge.calibrate.measure import measure
from judge.scoring.ask import CHECKED
from judge.scoring.prepare import open_judges, prompts_id
from judge.scoring.questions import Answers, Question, ask_all, check_owed, usual_ledger
from judge.settings import Evidence, ScoreSettings
from judge.texts import read_texts
from reward_model.llm import LLM
from reward_model.records import UserError, check_outputs, write_result
from reward_model.records.terminal import console, progress
from reward_model.rubrics import Rubric, load_rubric

Shown = Literal["none", "checks", "both"]


def calibrate_file(
    path: Path,
    settings: ScoreSettings,
    *,
    evidence: Shown = "none",
    max_reports: int = 20,
    json_out: Path | None = None,
    judges: Sequence[LLM] | None = None,
) -> dict[str, Any]:
    """Calibrate the judge on the chosen sides of a file of pairs, or on reports by themselves.

    Args:
        settings: `samples` is how often a clean text is asked about, for test and retest.

    Raises:
        UserError: settings or files that cannot be used.
        Stopped: levels are owed because a provider failed.
    """
    ledger = usual_ledger(settings, path, "calibrate")
    check_outputs({"--json": json_out, "--ledger": ledger}, (path, settings.rubric))
    rubric = load_rubric(settings.rubric)
    dimension = _dimension(rubric)
    llms = tuple(judges) if judges is not None else open_judges(settings, rubric)
    reports = read_texts(path, "chosen", limit=max_reports, seed=settings.seed)
    with progress(transient=True) as bar:
        task = bar.add_task("planting errors", total=len(reports), note="")
        cases = []
        for report in reports:
            cases.append(make_case(report, settings.seed))
            bar.update(task, advance=1)
    if not any(case.planted for case in cases):
        raise UserError(
            "no report with a figure that the tables of its prompt confirm",
            expected="reports whose prompts carry the tables they are about",
            path=path,
        )
    runs: tuple[Evidence, ...] = ("none", "checks") if evidence == "both" else (evidence,)
    pairwise = settings.mode == "pairwise"
    questions = [q for run in runs for case in cases for q in _questions(case, run, settings)]
    answers = asyncio.run(
        ask_all(
            questions,
            settings,
            rubric,
            llms,
            ledger,
            dimensions=[dimension],
        )
    )
    result = {
        "version": 1,
        "command": "judge calibrate",
        "settings": {**settings.model_dump(mode="json"), "evidence": evidence},
        "rubric": rubric.id,
        "prompts": prompts_id(),
        "dimension": dimension,
        "reports": len(cases),
        "clean_reports": sum(case.wrong == 0 for case in cases),
        "missing": dict(sorted(answers.causes.items())),
        "calls": answers.report,
        "runs": {
            run: measure(
                cases,
                answers,
                dimension,
                rubric.scale,
                evidence=run,
                samples=settings.samples,
                pairwise=pairwise,
            )
            for run in runs
        },
    }
    write_result(result, json_out)
    _show(result, answers)
    check_owed(answers)
    return result


def _dimension(rubric: Rubric) -> str:
    """The dimension that wrong figures should lower."""
    name = next((name for name in rubric.names if name in CHECKED), None)
    if name is None:
        raise UserError(
            f"rubric {rubric.name} without a dimension that wrong figures lower",
            expected=f"a dimension named {' or '.join(sorted(CHECKED))}",
        )
    return name


def _questions(case: Case, evidence: Evidence, settings: ScoreSettings) -> list[Question]:
    """Everything that is asked about one text."""
    prompt, text = case.report.prompt, case.report.text
    changed = [*case.planted.values()]
    if case.reformatted is not None:
        changed.append(case.reformatted)
    if settings.mode != "pairwise":
        repeats = [Question(prompt, (text,), n, evidence) for n in range(settings.samples)]
        return repeats + [Question(prompt, (other,), 0, evidence) for other in changed]
    asked = [Question(prompt, (text, text), n, evidence) for n in range(settings.samples)]
    for other in changed:
        asked.append(Question(prompt, (text, other), 0, evidence))
        asked.append(Question(prompt, (other, text), 0, evidence))
    return asked


def _show(result: dict[str, Any], answers: Answers) -> None:
    from rich.table import Table

    from reward_model.stats.shares import say

    out, runs = console(), result["runs"]
    cost = f", ${answers.cost_usd:.2f}" if answers.cost_usd else ""
    out.print(
        f"{result['reports']} reports, {result['clean_reports']} of them without a figure that the "
        f"checks call wrong; {answers.calls} calls made, {answers.cached} taken from the ledger"
        f"{cost}\nshares with counts and intervals of 95%, for {result['dimension']}",
        markup=False,
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for run in runs:
        table.add_column("with evidence" if run == "checks" else "without evidence", no_wrap=True)
    table.add_row("errors found", *(say(run["recall"]) for run in runs.values()))
    kinds = next(iter(runs.values()))["kinds"]
    for kind in kinds:
        table.add_row(f"  {kind}", *(say(run["kinds"][kind]) for run in runs.values()))
    lines = [
        ("clean text below the top", "below_top"),
        ("reformatted text lower", "reformatted_lower"),
        ("same text lower when redone", "lower_again"),
        ("same text equal when redone", "same_again"),
        ("same text twice, unequal", "place_matters"),
        ("both orders prefer the same", "swap_consistent"),
    ]
    for words, key in lines:
        if any(run[key]["count"] for run in runs.values()):
            table.add_row(words, *(say(run[key]) for run in runs.values()))
    out.print(table)
    none = [f"{kind} {row['no_place']}" for kind, row in kinds.items() if row["no_place"]]
    if none:
        out.print(f"reports without a place for: {', '.join(none)}", markup=False)
    if result["missing"]:
        why = ", ".join(f"{count} {cause}" for cause, count in result["missing"].items())
        out.print(f"draws without a level: {why}", markup=False)
