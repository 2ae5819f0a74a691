"""`judge validate`: read, compute, write the filtered pairs, the JSON and the page, and report.

Exit code 1 when the verdict is poor, when no pair can be judged, or when a finding is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from judge.validate.advice import advice
from judge.validate.answer import answer
from judge.validate.filters import Filters, apply, write_kept
from judge.validate.measures.duplicates import duplicates
from judge.validate.measures.judging import clustering, halo, missing, relatives, swapped
from judge.validate.measures.shortcuts import audit
from judge.validate.measures.specificity import specificity
from judge.validate.measures.stats import gap, labels, noise_floor, verdict
from judge.validate.problems import planted, problems
from judge.validate.report import Filtered, Report, SourceReport
from judge.validate.table import Table, mean_gap, read_table
from reward_model.records import (
    check_named,
    check_outputs,
    check_replaceable,
    write_result,
    write_text,
)
from reward_model.records.page import PageLanguage
from reward_model.records.terminal import console, progress
from reward_model.rubrics import load_rubric


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a validation says."""

    rubric: str = "financial_report"
    seed: int = 0
    ngrams: bool = True
    """Look for phrases that give a side away."""
    max_audit: int = 1000
    """Pairs, sampled by group, in the shortcut audit."""
    filters: Filters = field(default_factory=Filters)


def validate_file(
    scored: Path,
    filtered: Path | None = None,
    *,
    settings: Settings | None = None,
    json_out: Path | None = None,
    html_out: Path | None = None,
    page_language: PageLanguage = "en",
) -> int:
    """Validate a file, write what was asked for, tell a person, and return the exit code."""
    settings = settings or Settings()
    beside = None if filtered is None else f"{filtered}.config.json"
    outputs = {
        "FILTERED": filtered,
        "FILTERED with .config.json": beside,
        "--json": json_out,
        "--html": html_out,
    }
    check_outputs(outputs, (scored, settings.rubric))
    if filtered is not None:
        check_named(filtered, "FILTERED")
        check_replaceable(filtered, "max_audit")
    report, table = build(scored, settings, filtered)
    if filtered is not None:
        keep, _ = apply(table, settings.filters)
        write_kept(table, keep, filtered, report.config)
    write_result(to_json(report), json_out)
    if html_out is not None:
        from judge.validate.view.page import page

        write_text(html_out, page(table, report, settings.seed, page_language))
    from judge.validate.view.terminal import show

    show(report, console())
    return exit_code(report)


def exit_code(report: Report) -> int:
    """1 when the check found problems that training must not ignore, else 0."""
    blocked = any(finding.level == "error" for finding in report.findings)
    return int(blocked)


def to_json(report: Report) -> dict[str, object]:
    """The report as `--json` writes it."""
    value = report.model_dump(mode="json")
    return {"schema": value.pop("schema_"), **value}


def build(scored: Path, settings: Settings, filtered: Path | None = None) -> tuple[Report, Table]:
    """Compute everything."""
    rubric = load_rubric(settings.rubric)
    size = scored.stat().st_size if scored.is_file() else None
    with progress(transient=True) as bar:
        task = bar.add_task("reading", total=size, note="")
        table = read_table(scored, rubric, progress=lambda n: bar.update(task, advance=n))
        bar.update(task, description="computing")
        report = compute(table, settings, filtered)
    return report, table


def compute(table: Table, settings: Settings, filtered: Path | None = None) -> Report:
    """All numbers and findings of a table."""
    preference = table.preference
    gaps = table.gaps
    overall = gap(mean_gap(gaps[preference]))
    noise = noise_floor(table)
    graded = verdict(overall, table.rubric.scale)
    matrix, about_matrix = specificity(table, noise, settings.seed)
    halo_part, about_halo = halo(table)
    clusters, about_clusters = clustering(table)
    missing_part, about_missing = missing(table)
    duplicate_part, about_duplicates = duplicates(table)
    planted_part = planted(table)
    problem_part = problems(table)
    shortcuts, about_shortcuts = audit(
        table, most=settings.max_audit, with_ngrams=settings.ngrams, seed=settings.seed
    )
    keep, dropped = apply(table, settings.filters)
    stays = verdict(gap(mean_gap(gaps[preference & keep])), table.rubric.scale)
    findings = [
        *about_missing,
        *swapped(table),
        *about_matrix,
        *about_halo,
        *about_clusters,
        *about_shortcuts,
        *about_duplicates,
        *relatives(table),
    ]
    by_dimension = {n: gap(gaps[preference, d]) for d, n in enumerate(table.names)}
    findings = advice(table, graded, overall, by_dimension, noise, planted_part, matrix, findings)
    report = Report(
        schema_="judge.validate/1",
        source=SourceReport(
            path=table.path,
            pairs=len(table.lines),
            preferences=int(preference.sum()),
            neutral=int(table.neutral.sum()),
            scored=int(table.scored.sum()),
            groups=len(table.groups),
            rubric=table.rubric.id,
            scale=table.rubric.scale,
            dimensions=list(table.names),
            judges=dict(table.judges.most_common()),
            generators=[made._asdict() for made in table.generators],
        ),
        verdict=graded,
        gap=overall,
        dimensions=by_dimension,
        labels=labels(table),
        noise_floor=noise,
        specificity=matrix,
        shortcuts=shortcuts,
        halo=halo_part,
        clustering=clusters,
        missing=missing_part,
        duplicates=duplicate_part,
        planted=planted_part,
        problems=problem_part,
        findings=findings,
        filtered=Filtered(
            options=settings.filters.options(),
            kept=int(keep.sum()),
            dropped=dropped,
            path=str(filtered) if filtered else None,
            verdict=stays if dropped else None,
        ),
        config={
            "scored": table.path,
            "rubric": table.rubric.id,
            "seed": settings.seed,
            "ngrams": settings.ngrams,
            "max_audit": settings.max_audit,
            **settings.filters.options(),
        },
    )
    return report.model_copy(update={"answer": answer(report, settings.rubric)})
