"""The pages of traffic: one HTML file each, nothing loaded from anywhere, no text of the log."""

from __future__ import annotations

from typing import Any

from reward_model.records.page import PageLanguage, Phrases, Plot, phrases, plot, render
from reward_model.records.page.plots import INK, SERIES
from reward_model.traffic.words import (
    STATUS,
    TONES,
    between,
    beyond,
    chance,
    notes,
    number,
    verdicts,
)


def monitor_page(result: dict[str, Any], language: PageLanguage = "en") -> str:
    """The page of `monitor`."""
    say = phrases("reward_model.traffic", "monitor", language)
    return render(
        "reward_model.traffic",
        "monitor",
        say=say,
        result=result,
        tones=TONES,
        status=STATUS,
        between=between,
        number=number,
        notes=notes(result["notes"]),
        beyond=[
            beyond(one)
            for status in ("alert", "watch")
            for one in result["metrics"]
            if one["status"] == status
        ][:5],
        series=[_series(f"series-{at}", one, say) for at, one in enumerate(result["metrics"])],
    )


def ab_page(result: dict[str, Any], language: PageLanguage = "en") -> str:
    """The page of `ab`."""
    say = phrases("reward_model.traffic", "ab", language)
    return render(
        "reward_model.traffic",
        "ab",
        say=say,
        result=result,
        tones=TONES,
        between=between,
        chance=chance,
        number=number,
        notes=notes(result["notes"]),
        verdicts=verdicts(result),
        changes=_changes(result, say),
    )


def _series(name: str, metric: dict[str, Any], say: Phrases) -> Plot | None:
    """A metric window by window, with its interval and limits."""
    shown = [(at, one) for at, one in enumerate(metric["series"]) if one["value"] is not None]
    if len(shown) < 2:
        return None
    percent = 100 if metric["is"] == "share" else 1
    with plot(
        name, say("{metric} by window", metric=metric["name"]), width=4.2, height=2.4
    ) as drawing:
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
        axes.set_title(say(metric["name"]))
        axes.set_ylabel("%" if percent == 100 else say(metric["is"]))
        axes.set_xticks([at[0], at[-1]], [shown[0][1]["until"][:10], shown[-1][1]["until"][:10]])
    return drawing


def _changes(result: dict[str, Any], say: Phrases) -> Plot | None:
    """Relative change of every outcome and arm, with its interval."""
    shown = [
        row
        for row in (*result["primary"], *result["secondary"], *result["guardrails"])
        if row["difference"] and row["control"]["value"]
    ]
    if not shown:
        return None
    height = 0.9 + 0.34 * len(shown)
    title = say("change against the control, 95%")
    with plot("changes", title, width=7, height=height) as drawing:
        axes = drawing.axes
        for at, row in enumerate(shown):
            base = abs(row["control"]["value"]) / 100
            low, mid, high = (row["difference"][key] / base for key in ("low", "value", "high"))
            axes.plot([low, high], [at, at], color=SERIES[0], linewidth=2)
            axes.plot([mid], [at], "o", ms=5, color=SERIES[0])
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(
            range(len(shown)), [f"{say(row['outcome'])} · {row['arm']}" for row in shown]
        )
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel(say("change in % of the control"))
    return drawing
