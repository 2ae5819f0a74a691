"""Does each degradation lower what it aims at, and only that: degradation x dimension x severity.

Every mean gap comes with an interval by bootstrap over groups, and counts against the noise floor
of the neutral pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from judge.validate.measures.stats import unit
from judge.validate.report import Cell, DegradationRow, Finding, NoiseFloor
from judge.validate.table import Table
from reward_model.records import UserError
from reward_model.rubrics import say
from reward_model.stats.bootstrap import RESAMPLES, Bootstrap, interval

MANY_GROUPS = 20_000
"""Above this many groups a fifth of the resamples gives the interval to two digits as well."""
ENOUGH = 5
"""Pairs below which nothing is said of a cell but its mean."""


def specificity(
    table: Table, noise: NoiseFloor, seed: int
) -> tuple[list[DegradationRow], list[Finding]]:
    """A row for each degradation in the file, and what is wrong with it."""
    rows: list[DegradationRow] = []
    findings: list[Finding] = []
    gaps = table.gaps
    for number in sorted(
        range(len(table.degradations)), key=lambda i: _order(table, table.degradations[i])
    ):
        members = np.flatnonzero((table.degradation == number) & table.preference)
        if len(members):
            row, found = _Row(table, number, members, gaps[members], noise, seed).build()
            rows.append(row)
            findings += found
    return rows, findings


def _order(table: Table, name: str) -> tuple[int, str]:
    known = [d.name for d in table.rubric.degradations]
    return (known.index(name) if name in known else len(known), name)


class _Row:
    """One degradation: its cells, then its flags."""

    def __init__(
        self,
        table: Table,
        number: int,
        members: NDArray[np.int64],
        gaps: NDArray[np.float64],
        noise: NoiseFloor,
        seed: int,
    ) -> None:
        self.table, self.gaps = table, gaps
        self.name = table.degradations[number]
        try:
            title = say(table.rubric.degradation(self.name).title, "en")
        except UserError:
            title = self.name
        self.title = title
        self.group = table.group[members]
        self.targets: NDArray[np.bool_] = np.asarray(table.targets[members].any(axis=0))
        severity = table.severity[members]
        self.severities = [int(s) for s in np.unique(severity) if s > 0]
        # One resampling serves the row and its severities, so that their differences make sense.
        blocks = [gaps] + [
            np.where((severity == s)[:, None], gaps, np.nan) for s in self.severities
        ]
        self.columns = np.hstack(blocks)
        groups = [str(group) for group in self.group]
        self.groups = len(set(groups))
        resamples = RESAMPLES // 5 if self.groups > MANY_GROUPS else RESAMPLES
        self.resampled = Bootstrap(groups, resamples=resamples, seed=seed).means(self.columns)
        self.floor = [max(0.0, noise.dimensions[n].mean or 0.0) for n in table.names]
        self.unit = unit(table.rubric.scale)
        self.findings: list[Finding] = []

    def build(self) -> tuple[DegradationRow, list[Finding]]:
        self._flag_targets()
        self._flag_others()
        self._flag_ladder()
        row = DegradationRow(
            name=self.name,
            title=self.title,
            pairs=len(self.gaps),
            targets=[n for n, t in zip(self.table.names, self.targets, strict=True) if t],
            cells=self._cells(0),
            severities={str(s): self._cells(i) for i, s in enumerate(self.severities, 1)},
            flags=sorted({f.code for f in self.findings}),
        )
        return row, self.findings

    def _cell(self, block: int, d: int) -> Cell:
        column = block * len(self.table.names) + d
        known = ~np.isnan(self.columns[:, column])
        groups = len(np.unique(self.group[known]))
        mean = float(self.columns[known, column].mean()) if known.any() else None
        limits = self._interval(self.resampled[:, column], mean, groups)
        return Cell(
            pairs=int(known.sum()),
            groups=groups,
            mean=mean,
            low=limits[0] if limits else None,
            high=limits[1] if limits else None,
            targeted=bool(self.targets[d]),
        )

    def _interval(
        self, draws: NDArray[np.float64], value: float | None, groups: int
    ) -> tuple[float, float] | None:
        if value is None or groups < 2:
            return None
        found = interval(draws, value, groups)
        most = self.table.rubric.scale  # of a difference between two gaps it is twice that
        return found and (max(found[0], -2.0 * most), min(found[1], 2.0 * most))

    def _cells(self, block: int) -> dict[str, Cell]:
        return {name: self._cell(block, d) for d, name in enumerate(self.table.names)}

    def _flag_targets(self) -> None:
        for d in np.flatnonzero(self.targets):
            cell, floor = self._cell(0, int(d)), self.floor[d]
            if cell.mean is None or cell.pairs < ENOUGH:
                continue
            small = cell.mean < 0.25 * self.unit
            unproven = cell.mean < 0.5 * self.unit and (cell.low is None or cell.low <= floor)
            if small or unproven:
                dimension = self.table.names[d]
                self._find(
                    "dead_degradation",
                    f"{self.name} does not lower {dimension}, which it targets: mean gap "
                    f"{cell.mean:.2f} {_span(cell)} over {cell.pairs} pairs, noise floor "
                    f"{floor:.2f}",
                    f"read ten of its pairs: if the text is unharmed, make the instruction of "
                    f"{self.name} stronger or raise its severity; if it is harmed, the judge does "
                    f"not see {dimension}",
                    dimension,
                    {"mean_gap": cell.mean, "low": cell.low, "high": cell.high, "floor": floor},
                )

    def _flag_others(self) -> None:
        inside, outside = np.flatnonzero(self.targets), np.flatnonzero(~self.targets)
        if not len(inside) or not len(outside):
            return
        aimed = [c.mean for d in inside if (c := self._cell(0, int(d))).mean is not None]
        if not aimed:
            return
        best = max(aimed)
        hit = []
        for d in outside:
            cell = self._cell(0, int(d))
            if cell.mean is None or cell.low is None or cell.pairs < ENOUGH:
                continue
            least = max(0.5 * self.unit, 0.5 * best)
            if cell.mean >= least and cell.low > self.floor[d]:
                hit.append((self.table.names[d], cell))
        if hit:
            what = ", ".join(f"{n} {c.mean:.2f} {_span(c)}" for n, c in hit)
            self._find(
                "off_target_damage",
                f"{self.name} also lowers what it does not target: {what}; its target drops "
                f"{best:.2f}",
                "edit only what the degradation is about, or judge one dimension a call so that "
                "one impression does not colour the others",
                hit[0][0],
                {f"mean_gap_{n}": c.mean for n, c in hit} | {"target_mean_gap": best},
            )
        with np.errstate(invalid="ignore"):
            contrast = self._largest(inside) - self._largest(outside)
        largest = [
            np.nanmax(np.nanmean(self.gaps[:, where], axis=0)) for where in (inside, outside)
        ]
        limits = self._interval(contrast, float(largest[0] - largest[1]), self.groups)
        worst = max(outside, key=lambda d: self._cell(0, int(d)).mean or -np.inf)
        if limits is not None and limits[1] < 0 and len(self.gaps) >= ENOUGH:
            low, high = limits
            dimension = self.table.names[worst]
            mean = self._cell(0, int(worst)).mean
            self._find(
                "target_not_largest",
                f"{self.name} lowers {dimension} ({mean:.2f}) more than what it targets "
                f"({best:.2f}); the difference is between {-high:.2f} and {-low:.2f}",
                f"correct the targets of {self.name} in the rubric, or its instruction",
                dimension,
                {"mean_gap": mean, "target_mean_gap": best},
            )

    def _largest(self, where: NDArray[np.int64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.resampled[:, where].max(axis=1)
        return found

    def _flag_ladder(self) -> None:
        inside = np.flatnonzero(self.targets)
        if len(self.severities) < 2 or not len(inside):
            return
        d = len(self.table.names)
        steps = []
        for i, severity in enumerate(self.severities, 1):
            columns = i * d + inside
            if (~np.isnan(self.columns[:, columns])).any(axis=1).sum() < ENOUGH:
                continue
            means = np.nanmean(np.nanmean(self.columns[:, columns], axis=0))
            steps.append((severity, float(means), self.resampled[:, columns].mean(axis=1)))
        ladder = ", ".join(f"{s}: {m:.2f}" for s, m, _ in steps)
        numbers: dict[str, float | int | str | None] = {f"severity_{s}": m for s, m, _ in steps}
        for (low, least, before), (high, most, after) in pairwise(steps):
            limits = self._interval(after - before, most - least, self.groups)
            if limits is not None and limits[1] < 0:
                self._find(
                    "severity_not_monotone",
                    f"{self.name}: severity {high} does less harm than severity {low} ({ladder})",
                    f"sharpen the instruction of severity {high} in the rubric",
                    self.table.names[inside[0]],
                    numbers,
                )
        if len(steps) > 1 and steps[-1][0] - steps[0][0] > 1:
            gained = steps[-1][1] - steps[0][1]
            limits = self._interval(steps[-1][2] - steps[0][2], gained, self.groups)
            if gained < 0.25 * self.unit and limits is not None and limits[1] < self.unit:
                self._find(
                    "severity_flat",
                    f"{self.name}: severity makes no difference ({ladder})",
                    "the levels between the ends will get few examples: make the severities "
                    "differ more",
                    self.table.names[inside[0]],
                    numbers,
                )

    def _find(
        self,
        code: str,
        message: str,
        advice: str,
        dimension: str,
        numbers: Mapping[str, float | int | str | None],
    ) -> None:
        self.findings.append(
            Finding(
                code=code,
                level="warning",
                message=message,
                advice=advice,
                cell={"degradation": self.name, "dimension": dimension},
                numbers=dict(numbers),
            )
        )


def _span(cell: Cell) -> str:
    return "" if cell.low is None else f"[{cell.low:.2f}, {cell.high:.2f}]"
