"""The page of an evaluation of policies: one HTML file, every text escaped, nothing loaded.

`page(result)` takes what `evaluate` gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reward_model.policy.evaluation.verdict import verdicts
from reward_model.policy.evaluation.words import COLUMNS, figure
from reward_model.records.page import PageLanguage, Phrases, Plot, phrases, plot, render
from reward_model.records.page.plots import INK, SERIES


def page(result: Mapping[str, Any], language: PageLanguage = "en") -> str:
    """The evaluation as a self-contained page."""
    say = phrases("reward_model.policy.evaluation", "policies", language)
    runs = result["runs"]
    shown = [c for c in COLUMNS if any(run.get(c[0]) is not None for run in runs.values())]
    return render(
        "reward_model.policy.evaluation",
        "policies",
        say=say,
        runs=runs,
        columns=[title for _, title in shown],
        rows=[(name, [figure(run, key) for key, _ in shown]) for name, run in runs.items()],
        settings=result["settings"],
        verdicts=verdicts(result),
        drift=drift(runs, say),
        dimensions=_dimensions(runs),
        slices=_slices(runs),
        examples={n: [_example(e) for e in r["generation_samples"]] for n, r in runs.items()},
    )


def drift(runs: Mapping[str, Any], say: Phrases) -> Plot | None:
    """Reward against the root of KL, with the curve of picking the best of n of the reference."""
    points = [
        (name, math.sqrt(max(0.0, run["kl"])), run["reward"])
        for name, run in runs.items()
        if run.get("kl") is not None and run.get("reward") is not None
    ]
    if not points:
        return None
    title = say("Reward against the square root of KL to the reference")
    with plot("drift", title, width=6.5, height=3.6) as drawing:
        axes = drawing.axes
        for i, (name, far, reward) in enumerate(points):
            axes.plot([far], [reward], "o", color=SERIES[i % len(SERIES)], label=name)
        seen: set[str] = set()
        for run in runs.values():
            curve = run.get("best_of_n") or []
            key = str(run.get("reference"))
            if curve and key not in seen:
                seen.add(key)
                axes.plot(
                    [math.sqrt(p["kl"]) for p in curve],
                    [p["reward"] for p in curve],
                    "--",
                    color=INK,
                    label=say("best of n of the reference (at most this KL)"),
                )
        axes.set_xlabel(say("√KL, nats"))
        axes.set_ylabel(say("reward"))
        axes.legend()
    return drawing


def _dimensions(runs: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """Per run: dimension, before, after, change."""
    out = []
    for name, run in runs.items():
        rows = []
        for dimension, after in (run.get("dimensions") or {}).items():
            before = after.get("before")
            if before is None or after["value"] is None or before["value"] is None:
                continue
            change = figure(run, f"dimension_change/{dimension}")
            rows.append((dimension, f"{before['value']:.2f}", f"{after['value']:.2f}", change))
        if rows:
            out.append((name, rows))
    return out


def _slices(runs: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str, list[str]]]]]:
    """Per run: facet, value, its numbers."""
    return [
        (
            name,
            [
                (facet, value, [figure(one, key) for key, _ in COLUMNS[:5]])
                for facet, parts in run["slices"].items()
                for value, one in parts.items()
            ],
        )
        for name, run in runs.items()
        if run.get("slices")
    ]


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    prompt = example["prompt"]
    if not isinstance(prompt, str):
        prompt = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
    return {"reference": None, "policy_reward": None, "reference_reward": None} | {
        **example,
        "prompt": prompt,
    }
