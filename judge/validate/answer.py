"""Can a reward model be trained on this file? One verdict, why, what to do next, five findings."""

from __future__ import annotations

from judge.validate.report import Answer, Finding, Report

MOST = 5
"""Findings that are told first."""
GRADES = ("excellent", "good", "fair")
"""Good enough to train on."""
REASONS = 3
"""Reasons that are told with the verdict."""


def answer(report: Report, rubric: str) -> Answer:
    """`no` where a finding is an error, `with care` where one is a warning or the grade is fair.

    Where filters write the pairs they keep, those are what is graded and what is trained on next.
    `rubric`: as it was named, for the command to run next.
    """
    kept = _grade(report) in GRADES and report.filtered.path is not None
    errors = [
        f for f in report.findings if f.level == "error" and not (kept and f.code == "poor_verdict")
    ]
    warnings = [f for f in report.findings if f.level == "warning"]
    because = [f.message for f in errors or warnings]
    if not errors and _grade(report) == "fair":
        because.insert(0, "the pairs are graded fair")
    told = because[:REASONS]
    numbers = _numbers(report)
    more = [f.message for f in report.findings if f.message not in told]
    return Answer(
        ready="no" if errors else "with care" if because else "yes",
        because=told,
        next=_next(report, errors, "" if rubric == "financial_report" else f" --rubric {rubric}"),
        findings=[*numbers, *more][:MOST],
    )


def _numbers(report: Report) -> list[str]:
    """What the pairs show, and those that the filters keep."""
    found = []
    gap = report.gap
    if report.verdict.grade and gap.mean is not None and gap.positive_share is not None:
        found.append(
            f"of {gap.pairs} pairs {gap.positive_share:.0%} have a positive gap, {gap.mean:.2f} "
            f"levels on average: {report.verdict.grade}"
        )
    kept = report.filtered.verdict
    if kept is not None and kept.grade is not None:
        found.append(
            f"the {report.filtered.kept} pairs that the filters keep: {kept.positive_share:.0%} "
            f"positive, {kept.mean_gap:.2f} levels on average: {kept.grade}"
        )
    return found


def _grade(report: Report) -> str | None:
    """The grade of what would be trained on."""
    kept = report.filtered.verdict
    return kept.grade if report.filtered.path and kept else report.verdict.grade


def _next(report: Report, errors: list[Finding], rubric: str) -> str:
    """The command to run next."""
    path, filtered = report.source.path, report.filtered
    codes = {finding.code for finding in errors}
    if codes & {"nothing_to_judge", "missing_levels"}:
        return f"judge score PAIRS --out {path}{rubric}"
    if filtered.path and _grade(report) in GRADES and not codes:
        return f"reward-model train {filtered.path}{rubric}"
    if codes:
        weak = " KEPT.jsonl --min-gap 0.5 --require-target" if codes == {"poor_verdict"} else ""
        return f"judge validate {path}{weak}{rubric}"
    return f"reward-model train {path}{rubric}"
