"""The plots of the page."""

from __future__ import annotations

import numpy as np

from judge.validate.measures.shortcuts import LEAK
from judge.validate.report import Report
from judge.validate.table import Table, mean_gap
from reward_model.records.page import Phrases, Plot, plot
from reward_model.records.page.plots import INK, SERIES


def gap_histogram(table: Table, report: Report, say: Phrases) -> Plot:
    """Mean gap of every preference pair, with the thresholds of the verdict."""
    values = mean_gap(table.gaps)
    step = 1 / len(table.names)
    scale = table.rubric.scale
    edges = np.arange(-scale - step / 2, scale + step, step)
    title = say("Histogram of the mean gap of each pair")
    with plot("gaps", title, width=6, height=2.9) as drawing:
        axes = drawing.axes
        shown = [values[table.preference & ~np.isnan(values)]]
        names = [say("degraded")]
        if table.neutral.any():
            shown.append(values[table.neutral & ~np.isnan(values)])
            names.append(say("neutral"))
        axes.hist(shown, bins=edges, stacked=True, label=names)
        for grade, (least, _) in report.verdict.needs.items():
            axes.axvline(least, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
            axes.annotate(
                say(grade),
                (least, 1),
                xytext=(3, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="top",
                fontsize=8,
            )
        known = values[~np.isnan(values)]
        if len(known):
            low, high = min(known.min(), 0), max(known.max(), report.verdict.needs["excellent"][0])
            axes.set_xlim(low - 2 * step, high + 2 * step)
        axes.set_xlabel(say("mean gap, levels"))
        axes.set_ylabel(say("pairs"))
        if len(names) > 1:
            axes.legend(loc="upper left")
    return drawing


def label_bars(report: Report, say: Phrases) -> Plot:
    """Levels of chosen and rejected by dimension."""
    names = report.source.dimensions
    columns = len(names)
    title = say("Levels given to the chosen and the rejected side, by dimension")
    with plot("labels", title, width=max(4, 2.3 * columns), height=2.5, columns=columns) as drawing:
        all_axes = drawing.axes if columns > 1 else [drawing.axes]
        levels = np.arange(report.source.scale + 1)
        for axes, name in zip(all_axes, names, strict=True):
            part = report.labels[name]
            for shift, counts, label in (
                (-0.2, part.chosen, say("chosen")),
                (0.2, part.rejected, say("rejected")),
            ):
                total = max(sum(counts), 1)
                axes.bar(levels + shift, np.array(counts) / total, 0.4, label=label)
            axes.set_title(say.name(name))
            axes.set_xticks(levels[:: max(1, len(levels) // 10)])
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 0.5, 1], ["0", "50%", "100%"])
        all_axes[0].legend(loc="upper left")
    return drawing


def severity_ladder(report: Report, say: Phrases) -> Plot | None:
    """Mean gap in the targeted dimensions against severity; None where no severity is recorded."""
    rows = [row for row in report.specificity if len(row.severities) > 1 and row.targets]
    if not rows:
        return None
    title = say("Mean gap in the targeted dimension by severity")
    with plot("ladder", title, width=6, height=3.1) as drawing:
        axes = drawing.axes
        for i, row in enumerate(rows):
            target = row.targets[0]
            cells = [(int(s), cells[target]) for s, cells in row.severities.items()]
            known = [(s, c) for s, c in cells if c.mean is not None]
            colour = SERIES[i % len(SERIES)]
            shift = 0.04 * (i - (len(rows) - 1) / 2)
            axes.plot(
                [s + shift for s, _ in known],
                [c.mean for _, c in known],
                marker="o",
                markersize=4,
                color=colour,
                label=f"{say.name(row.name)} → {say.name(target)}",
            )
            for severity, cell in known:
                if cell.low is not None:
                    x = severity + shift
                    axes.plot([x, x], [cell.low, cell.high], color=colour, linewidth=1, alpha=0.6)
        axes.set_xticks(sorted({int(s) for row in rows for s in row.severities}))
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_xlabel(say("severity"))
        axes.set_ylabel(say("mean gap, levels"))
        axes.legend(loc="best")
    return drawing


def shortcut_bars(report: Report, say: Phrases) -> Plot | None:
    """How far each shortcut tells the sides apart."""
    parts = [part for part in report.shortcuts if part.auc is not None]
    if not parts:
        return None
    title = say("Share of held-out pairs ranked right without reading them")
    with plot("shortcuts", title, width=6, height=0.7 + 0.42 * len(parts)) as drawing:
        axes = drawing.axes
        for i, part in enumerate(reversed(parts)):
            auc = part.auc or 0.0
            axes.barh(i, auc, 0.6, color=SERIES[1] if part.result == "leak" else SERIES[0])
            axes.annotate(
                f"{auc:.2f}",
                (auc, i),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        axes.set_yticks(range(len(parts)), [say(part.name) for part in reversed(parts)])
        axes.axvline(0.5, color=INK, linewidth=0.8)
        axes.axvline(LEAK, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_xticks([0, 0.25, 0.5, LEAK, 1], ["0", "", say("0.5 chance"), "0.65", "1"])
        axes.set_xlim(0, 1.08)
    return drawing
