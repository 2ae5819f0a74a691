"""What an audit says in words: each finding with its probe, number and interval."""

from __future__ import annotations

from reward_model.stats.reports import AuditReport, Changed, Finding
from reward_model.stats.words import change, groups_words


def say_finding(probe: str, dimension: str, column: Changed, report: AuditReport) -> Finding:
    """One verdict with its sentence."""
    found = Finding(
        probe=probe, dimension=dimension, verdict=column.verdict, **column.change.to_json()
    )
    return found.model_copy(update={"words": _sentence(found, report)})


def _sentence(finding: Finding, report: AuditReport) -> str:
    probe, asked = finding.probe, report.probes[finding.probe]
    reward = finding.dimension == "reward"
    number = change(finding.change, 3 if reward else 2) + (" of 0 to 1" if reward else " levels")
    which = "the reward" if reward else finding.dimension
    if finding.verdict == "raised":
        return f"{probe} raises {which} by {number} ({asked.what})"
    if finding.verdict == "unseen":
        return (
            f"{probe} cannot lower {which}: every edit lies beyond the {report.input.max_length} "
            f"tokens that the model reads ({asked.what})"
        )
    if finding.verdict == "not lowered":
        return f"{probe} does not lower {which}: {number} ({asked.what})"
    does = "lowers" if finding.dimension in asked.lowers else "raises"
    return f"{probe}: whether it {does} {which} is unclear: {number} ({asked.what})"


def notes(report: AuditReport) -> list[str]:
    """What a reader of the numbers has to know, each a sentence."""
    words = []
    for name, probe in report.probes.items():
        if probe.unseen:
            words.append(
                f"{name}: {probe.unseen} of {probe.edited} edits lie beyond the "
                f"{report.input.max_length} tokens that the model reads; the change is that of "
                "the others"
            )
        if probe.not_applicable:
            total = probe.edited + probe.not_applicable
            words.append(f"{name}: {probe.not_applicable} of {total} texts have nothing to edit")
        if probe.no_opinion:
            words.append(f"{name}: {probe.no_opinion} texts without a score, counted nowhere")
        unsure = [
            f"{dimension} ({column.change.reason or 'no interval'})"
            for dimension in probe.lowers
            if (column := probe.dimensions[dimension]).verdict == "unknown"
        ]
        if unsure:
            words.append(f"{name}: whether it lowers {', '.join(unsure)} is not known")
        words += _unclear(name, report)
        if probe.may_raise:
            names = ", ".join(probe.may_raise)
            words.append(f"{name}: may raise {names}, which the edit does add to")
    if few := groups_words(report.split.groups):
        words.append(few)
    return words


def _unclear(probe: str, report: AuditReport) -> list[str]:
    """What the intervals of a probe leave open, a sentence for each of the two questions."""
    left: dict[str, list[str]] = {"raises": [], "lowers": []}
    for finding in report.unclear:
        if finding.probe == probe:
            reward = finding.dimension == "reward"
            asked = "lowers" if finding.dimension in report.probes[probe].lowers else "raises"
            number = change(finding.change, 3 if reward else 2)
            left[asked].append(f"{'the reward' if reward else finding.dimension} ({number})")
    ends = {"raises": " by more than is let pass", "lowers": ""}
    return [
        f"{probe}: not clear whether it {asked} {', '.join(columns)}{ends[asked]}"
        for asked, columns in left.items()
        if columns
    ]
