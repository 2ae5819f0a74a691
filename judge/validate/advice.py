"""What to do next, in order of importance, each piece tied to the numbers it comes from."""

from __future__ import annotations

from judge.validate.measures.specificity import ENOUGH
from judge.validate.measures.stats import unit
from judge.validate.report import DegradationRow, Finding, Gap, NoiseFloor, Planted, Verdict
from judge.validate.table import Table

_ORDER = {"error": 0, "warning": 1, "note": 2}


def advice(
    table: Table,
    graded: Verdict,
    overall: Gap,
    dimensions: dict[str, Gap],
    noise: NoiseFloor,
    planted: Planted,
    matrix: list[DegradationRow],
    others: list[Finding],
) -> list[Finding]:
    """Findings about the whole set joined with `others`, errors first."""
    found = [
        *_verdict(table, graded, overall, dimensions, matrix),
        *others,
        *_noise(table, overall, noise),
        *_planted(planted),
        *_unknown(table),
    ]
    return sorted(found, key=lambda finding: _ORDER[finding.level])


def _verdict(
    table: Table,
    graded: Verdict,
    overall: Gap,
    dimensions: dict[str, Gap],
    matrix: list[DegradationRow],
) -> list[Finding]:
    if graded.grade is None or overall.mean is None or overall.positive_share is None:
        return [
            Finding(
                code="nothing_to_judge",
                level="error",
                message=f"none of {len(table.lines)} pairs has a level on both sides",
                advice="score the pairs first: judge score PAIRS --out SCORED",
                cell={},
                numbers={"pairs": len(table.lines)},
            )
        ]
    if graded.grade != "poor":
        return []
    least, share = graded.needs["fair"]
    short = []
    if overall.mean < least:
        weakest = min(
            (n for n in dimensions if dimensions[n].mean is not None),
            key=lambda n: dimensions[n].mean or 0.0,
        )
        short.append(
            f"the mean gap is {overall.mean:.2f} and should be {least:.2f} (least in {weakest}: "
            f"{dimensions[weakest].mean or 0:.2f})"
        )
    if overall.positive_share < share:
        short.append(
            f"{overall.positive_share:.0%} of gaps are positive and {share:.0%} should be "
            f"({overall.zero} zero, {overall.negative} negative)"
        )
    weak = _weakest(matrix)
    if weak:
        short.append("the weakest targeted cells: " + ", ".join(f"{w} {m:.2f}" for m, w in weak))
    return [
        Finding(
            code="poor_verdict",
            level="error",
            message="; ".join(short),
            advice=f"make {weak[0][1]} stronger or leave it out, and leave weak pairs out with "
            "--min-gap and --require-target"
            if weak
            else "leave weak pairs out with --min-gap and --require-target",
            cell={"weakest": weak[0][1]} if weak else {},
            numbers={"mean_gap": overall.mean, "positive_share": overall.positive_share},
        )
    ]


def _weakest(matrix: list[DegradationRow], most: int = 3) -> list[tuple[float, str]]:
    """Mean gap and place of the targeted cells, by severity where there is one, lowest first."""
    cells = [
        (cell.mean, f"{row.name}{f' severity {severity}' if severity else ''} in {dimension}")
        for row in matrix
        for severity, of in (row.severities or {"": row.cells}).items()
        for dimension, cell in of.items()
        if cell.targeted and cell.mean is not None and cell.pairs >= ENOUGH
    ]
    return sorted(cells)[:most]


def _noise(table: Table, overall: Gap, noise: NoiseFloor) -> list[Finding]:
    if not noise.pairs or noise.mean_absolute_gap is None:
        return [
            Finding(
                code="no_controls",
                level="note",
                message="there are no neutral pairs, so gaps are read against zero",
                advice="add neutral rewrites (metadata.kind = neutral): they show what a harmless "
                "edit does to the levels",
                cell={},
                numbers={"neutral": noise.pairs},
            )
        ]
    mean = noise.mean_gap or 0.0
    if mean < 0.5 * unit(table.rubric.scale) and mean < 0.5 * (overall.mean or 0.0):
        return []
    return [
        Finding(
            code="noisy_controls",
            level="warning",
            message=f"a neutral rewrite loses {mean:.2f} levels on average, against "
            f"{overall.mean or 0:.2f} for a degraded text",
            advice="the judge or the editor punishes being edited: compare the neutral pairs by "
            "eye before you trust the gaps",
            cell={},
            numbers={"neutral_mean_gap": mean, "mean_gap": overall.mean},
        )
    ]


def _planted(part: Planted) -> list[Finding]:
    lost = part.pairs - part.found
    if not part.pairs or not lost:
        return []
    worst = min(part.by_error, key=lambda k: part.by_error[k][0] / part.by_error[k][1])
    hits, total = part.by_error[worst]
    return [
        Finding(
            code="missed_errors",
            level="warning" if lost > 0.1 * part.pairs else "note",
            message=f"in {lost} of {part.pairs} pairs with planted errors the judge did not lower "
            f"{part.dimension or 'a targeted dimension'}; least seen: {worst} ({hits} of {total})",
            advice="score with --evidence checks, which shows the judge the figures that do not "
            "agree with the tables; the places are listed in the report",
            cell={"error": worst},
            numbers={"pairs": part.pairs, "found": part.found},
        )
    ]


def _unknown(table: Table) -> list[Finding]:
    known = {d.name for d in table.rubric.degradations}
    aimless = [
        name
        for i, name in enumerate(table.degradations)
        if name not in known and not table.targets[table.degradation == i].any()
    ]
    if not aimless:
        return []
    return [
        Finding(
            code="unknown_degradation",
            level="note",
            message=f"the rubric does not know {', '.join(aimless[:5])}, and the pairs name no "
            "targets, so nothing can be said of what these aim at",
            advice="add them to the rubric's degradations, or set defect_metadata.targets",
            cell={"degradation": aimless[0]},
            numbers={"degradations": len(aimless)},
        )
    ]
