"""The pages of traffic: one HTML file each, nothing loaded from anywhere, no text of the log."""

from __future__ import annotations

from typing import Any

from reward_model.records.page import Plot, plot, render
from reward_model.records.page.plots import INK, SERIES
from reward_model.traffic.words import STATUS, TONES, between, notes, number, verdicts


def monitor_page(result: dict[str, Any]) -> str:
    """The page of `monitor`."""
    return render(
        "reward_model.traffic",
        "monitor",
        result=result,
        tones=TONES,
        status=STATUS,
        between=between,
        number=number,
        notes=notes(result["notes"]),
        series=[_series(f"series-{at}", one) for at, one in enumerate(result["metrics"])],
    )


def ab_page(result: dict[str, Any]) -> str:
    """The page of `ab`."""
    return render(
        "reward_model.traffic",
        "ab",
        result=result,
        tones=TONES,
        between=between,
        number=number,
        notes=notes(result["notes"]),
        verdicts=verdicts(result),
        changes=_changes(result),
    )


def _series(name: str, metric: dict[str, Any]) -> Plot | None:
    """A metric window by window, with its interval and limits."""
    shown = [(at, one) for at, one in enumerate(metric["series"]) if one["value"] is not None]
    if len(shown) < 2:
        return None
    percent = 100 if metric["is"] == "share" else 1
    with plot(name, f"{metric['name']} by window", width=4.2, height=2.4) as drawing:
        axes = drawing.axes
        at = [place for place, _ in shown]
        axes.plot(at, [percent * one["value"] for _, one in shown], "o-", ms=3, color=SERIES[0])
        limited = [(place, one) for place, one in shown if one["low"] is not None]
        axes.fill_between(
            [place for place, _ in limited],
            [percent * one["low"] for _, one in limited],
            [percent * one["high"] for _, one in limited],
            color=SERIES[0],
            alpha=0.2,
            linewidth=0,
        )
        for limit in metric["limits"]:
            if limit["at"] is not None:
                axes.axhline(percent * limit["at"], color=INK, linewidth=0.8, linestyle="--")
        axes.set_title(metric["name"])
        axes.set_ylabel("%" if percent == 100 else metric["is"])
        axes.set_xticks([at[0], at[-1]], [shown[0][1]["until"][:10], shown[-1][1]["until"][:10]])
    return drawing


def _changes(result: dict[str, Any]) -> Plot | None:
    """Relative change of every outcome and arm, with its interval."""
    shown = [
        row
        for row in (*result["primary"], *result["secondary"], *result["guardrails"])
        if row["difference"] and row["control"]["value"]
    ]
    if not shown:
        return None
    height = 0.9 + 0.34 * len(shown)
    with plot("changes", "change against the control, 95%", width=7, height=height) as drawing:
        axes = drawing.axes
        for at, row in enumerate(shown):
            base = abs(row["control"]["value"]) / 100
            low, mid, high = (row["difference"][key] / base for key in ("low", "value", "high"))
            axes.plot([low, high], [at, at], color=SERIES[0], linewidth=2)
            axes.plot([mid], [at], "o", ms=5, color=SERIES[0])
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [f"{row['outcome']}, {row['arm']}" for row in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("change in % of the control")
    return drawing
