"""What the levels say of the judge: halo, piling up, missing levels, swapped sides, relatives."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from judge.validate.measures.stats import unit
from judge.validate.report import Clustering, Finding, Halo, Missing
from judge.validate.table import MISSING, Table, mean_gap
from reward_model.llm.family import family

HALO = 0.8
"""Mean correlation between dimensions from which on they say one thing."""
PILED = 0.8
"""Share of one level in a dimension from which on the judge hardly distinguishes."""
PILED_SIDE = 0.95
"""The same for one side, where some piling up is meant."""
MISSING_WARNING, MISSING_ERROR = 0.01, 0.10
SWAPPED_WARNING = 0.05


def halo(table: Table) -> tuple[Halo, list[Finding]]:
    """Correlations between dimensions, the difference between the sides taken out."""
    levels = table.levels[table.preference].astype(np.float64)
    levels[levels == MISSING] = np.nan
    names = table.names
    with np.errstate(invalid="ignore"):
        centred = [levels[:, s] - _mean(levels[:, s]) for s in (0, 1)]
    responses = np.vstack(centred)
    found: dict[str, float | None] = {}
    for i, j in combinations(range(len(names)), 2):
        both = ~np.isnan(responses[:, i]) & ~np.isnan(responses[:, j])
        a, b = responses[both, i], responses[both, j]
        known = len(a) > 2 and a.std() > 1e-9 and b.std() > 1e-9
        found[f"{names[i]}/{names[j]}"] = float(np.corrcoef(a, b)[0, 1]) if known else None
    values = [v for v in found.values() if v is not None]
    mean = float(np.mean(values)) if values else None
    whole = np.vstack([levels[:, 0], levels[:, 1]])
    whole = whole[~np.isnan(whole).any(axis=1)]
    equal = (
        float((whole == whole[:, :1]).all(axis=1).mean()) if len(whole) and len(names) > 1 else None
    )
    part = Halo(correlations=found, mean=mean, all_equal_share=equal)
    if mean is None or mean < HALO or len(whole) < 20:
        return part, []
    worst, most = max(((k, v) for k, v in found.items() if v is not None), key=lambda kv: kv[1])
    return part, [
        Finding(
            code="halo",
            level="warning",
            message=f"the dimensions move together: mean correlation {mean:.2f} within a side, "
            f"most between {worst} ({most:.2f}); {equal or 0:.0%} of responses have one level "
            "in all dimensions",
            advice="judge one dimension a call (--mode per-dimension) and let the rubric's "
            "anchors say what each dimension leaves to the others; until then the heads learn "
            "one number under several names",
            cell={"dimensions": worst},
            numbers={"mean_correlation": mean, "all_equal_share": equal},
        )
    ]


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    total: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = total / np.maximum(known.sum(axis=0), 1)
    return mean


def clustering(table: Table) -> tuple[dict[str, Clustering], list[Finding]]:
    """Share of the most frequent level, over both sides and by side."""
    parts: dict[str, Clustering] = {}
    findings: list[Finding] = []
    levels = table.levels[table.preference]
    size = table.rubric.classes
    for d, name in enumerate(table.names):
        sides = [column[column != MISSING] for column in (levels[:, 0, d], levels[:, 1, d])]
        counts = [np.bincount(side, minlength=size) for side in sides]
        total = counts[0] + counts[1]
        n = int(total.sum())
        part = Clustering(
            modal_level=int(total.argmax()) if n else None,
            share=float(total.max() / n) if n else None,
            chosen_share=float(counts[0].max() / len(sides[0])) if len(sides[0]) else None,
            rejected_share=float(counts[1].max() / len(sides[1])) if len(sides[1]) else None,
            unused=np.flatnonzero(total == 0).tolist() if n else [],
        )
        parts[name] = part
        if n < 20 or part.share is None:
            continue
        if part.share >= PILED:
            findings.append(
                Finding(
                    code="clustering",
                    level="warning",
                    message=f"{name}: {part.share:.0%} of all levels are {part.modal_level}; the "
                    "judge hardly tells responses apart",
                    advice="sharpen the anchors of this dimension, show the judge an example of "
                    "each level, or take another judge; a head trained on this learns a constant",
                    cell={"dimension": name},
                    numbers={"modal_level": part.modal_level, "share": part.share},
                )
            )
            continue
        for side, count, values in zip(("chosen", "rejected"), counts, sides, strict=True):
            if len(values) >= 10 and count.max() >= PILED_SIDE * len(values):
                level, share = int(count.argmax()), float(count.max() / len(values))
                message = (
                    f"{name}: {share:.0%} of {side} levels are {level}, so the head learns which "
                    "side a text is on"
                )
                if part.unused:
                    message += f"; levels never given: {', '.join(map(str, part.unused))}"
                findings.append(
                    Finding(
                        code="constant_side",
                        level="warning",
                        message=message,
                        advice="use all severities of the degradations, so that every level gets "
                        "examples, and read plain accuracy with care: a constant already scores "
                        f"{share:.0%}",
                        cell={"dimension": name, "side": side},
                        numbers={"level": level, "share": share},
                    )
                )
    return parts, findings


def missing(table: Table) -> tuple[Missing, list[Finding]]:
    """Levels that are not there, by dimension and by the cause the judge recorded."""
    gone = table.levels == MISSING
    by_dimension = {n: int(gone[:, :, d].sum()) for d, n in enumerate(table.names)}
    total = int(gone.sum())
    unscored = int((~table.scored).sum())
    causes = Counter(table.causes)
    without_scores = unscored * 2 * len(table.names)
    if without_scores:
        causes["no scores"] = without_scores
    unknown = total - sum(causes.values())
    if unknown > 0:
        causes["not recorded"] = unknown
    part = Missing(
        unscored=unscored,
        incomplete=int((gone.any(axis=(1, 2)) & table.scored).sum()),
        share=total / gone.size if gone.size else None,
        by_dimension=by_dimension,
        by_cause=dict(causes.most_common()),
        failed_draws=dict(table.failed_draws.most_common()),
    )
    share = part.share or 0.0
    if share < MISSING_WARNING:
        return part, []
    most = max(by_dimension, key=lambda n: by_dimension[n])
    words = ", ".join(f"{why} {count}" for why, count in causes.most_common(4))
    return part, [
        Finding(
            code="missing_levels",
            level="error" if share >= MISSING_ERROR else "warning",
            message=f"{share:.0%} of all levels are missing ({unscored} pairs without scores, "
            f"{part.incomplete} incomplete), most in {most}; causes: {words}",
            advice="run the same `judge score` command again: it asks only for what is missing; "
            "for parse failures and truncation give the judge more tokens or another model; "
            "--drop-incomplete leaves these pairs out",
            cell={"dimension": most},
            numbers={"share": share, "unscored": unscored, "incomplete": part.incomplete},
        )
    ]


def swapped(table: Table) -> list[Finding]:
    """Pairs, and degradations, whose sides look exchanged."""
    rows = np.flatnonzero(table.preference)
    means = mean_gap(table.gaps[rows])
    known = ~np.isnan(means)
    rows, means = rows[known], means[known]
    if len(means) < 5:
        return []
    negative = float((means < 0).mean())
    if negative > 0.5:
        return [
            Finding(
                code="swapped_sides",
                level="error",
                message=f"{negative:.0%} of pairs score higher on the rejected side (mean gap "
                f"{means.mean():.2f}): chosen and rejected look swapped",
                advice="exchange the two columns where the file was made, and validate again",
                cell={},
                numbers={"negative_share": negative, "mean_gap": float(means.mean())},
            )
        ]
    findings: list[Finding] = []
    for number, name in enumerate(table.degradations):
        own = means[table.degradation[rows] == number]
        if len(own) >= 5 and float((own < 0).mean()) > 0.5:
            findings.append(
                Finding(
                    code="swapped_sides",
                    level="error",
                    message=f"{(own < 0).mean():.0%} of the {len(own)} pairs of {name} score "
                    f"higher on the rejected side (mean gap {own.mean():.2f}): its sides look "
                    "swapped",
                    advice=f"look at how pairs of {name} are written to the file",
                    cell={"degradation": name},
                    numbers={"negative_share": float((own < 0).mean()), "pairs": len(own)},
                )
            )
    strong = means <= -unit(table.rubric.scale)
    share = float(strong.mean())
    if not findings and share >= SWAPPED_WARNING:
        some = ", ".join(table.label(int(r)) for r in rows[strong][:5])
        findings.append(
            Finding(
                code="swapped_sides",
                level="warning",
                message=f"{share:.0%} of pairs ({int(strong.sum())}) score at least a level "
                f"higher on the rejected side: these may be swapped: {some}",
                advice="read a few of them; --min-gap 0 leaves negative pairs out",
                cell={},
                numbers={"share": share, "pairs": int(strong.sum())},
            )
        )
    return findings


def relatives(table: Table) -> list[Finding]:
    """A judge that grades the writing of its own family favours it."""
    writers: dict[str, set[str]] = {}
    for made in table.generators:
        if made.model:
            writers.setdefault(family(made.model), set()).add(made.model)
    findings = []
    for judge, pairs in table.judges.most_common():
        for member in (part.strip() for part in judge.replace("+", ",").split(",")):
            own = writers.get(family(member)) if member else None
            if own:
                findings.append(
                    Finding(
                        code="related_judge",
                        level="warning",
                        message=f"the judge {member} and the writer {', '.join(sorted(own))} are "
                        f"of one family ({family(member)}): a judge favours its relatives' text",
                        advice="score with a judge of another family, or a panel, and compare "
                        "with `judge agree`",
                        cell={"family": family(member)},
                        numbers={"pairs": pairs},
                    )
                )
    return findings
