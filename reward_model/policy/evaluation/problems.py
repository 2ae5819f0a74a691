"""What is wrong with a policy, said only where a whole interval says so.

`problems(told, groups, max_kl)` and `notes(...)` read the numbers of `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reward_model.stats.bootstrap import Estimate
from reward_model.stats.words import FEWEST

LONGER = 1.25
COLLAPSED = 2 / 3
UNSURE = 1.25


def problems(
    found: Mapping[str, Estimate], groups: int, *, max_kl: float | None = None
) -> list[dict[str, str]]:
    """Each problem with its name and why.

    Args:
        found: estimates by name; what was not measured is not there.
        groups: of prompts; below six nothing is claimed.
        max_kl: nats beyond which a policy has drifted.
    """
    if groups < FEWEST:
        return []
    out: list[dict[str, str]] = []

    def say(name: str, why: str) -> None:
        out.append({"problem": name, "why": why})

    reward = _low(found, "reward_change")
    if reward is not None and reward > 0:
        gold, apart = found.get("gold_change"), _low(found, "reward_less_gold")
        if gold is not None and gold.low is not None and gold.low <= 0 and (apart or 0) > 0:
            say("hacked", f"the reward rose, the gold reward did not ({_figure(gold)})")
        judge = found.get("judge_win_rate")
        if judge is not None and judge.high is not None and judge.high < 0.5:
            say("hacked", f"the reward rose, the judge prefers the reference ({_figure(judge)})")
    for name, change in found.items():
        if name.startswith("dimension_change/") and change.high is not None and change.high < 0:
            say("dimension_fell", f"{name.partition('/')[2]} fell ({_figure(change)} levels)")
    length, equal = _low(found, "length_ratio"), found.get("win_rate_equal_length")
    if length is not None and length > LONGER:
        gone = equal is None or equal.low is None or equal.low <= 0.5
        if gone:
            said = "no win rate at equal length" if equal is None else _figure(equal)
            say(
                "longer",
                f"answers are {found['length_ratio'].value:.2f} times as long, and at equal length "
                f"it does not win ({said})",
            )
    drift = _low(found, "kl")
    if max_kl is not None and drift is not None and drift > max_kl:
        say("drifted", f"KL to the reference is {_figure(found['kl'])} nats, above {max_kl:g}")
    for name, words in (("distinct_ratio", "varied"), ("finished_ratio", "often finished")):
        high = _high(found, name)
        if high is not None and high < COLLAPSED:
            say("collapsed", f"answers are {found[name].value:.2f} times as {words} as before")
    unsure = _low(found, "uncertainty_ratio")
    if unsure is not None and unsure > UNSURE:
        say(
            "unsure",
            f"the reward is {found['uncertainty_ratio'].value:.2f} times as uncertain: these "
            "answers are outside what it knows",
        )
    return out


def notes(found: Mapping[str, Estimate], groups: int, values: Mapping[str, Any]) -> list[str]:
    """What to know beside the problems."""
    out = []
    fell = _high(found, "chosen_change")
    if fell is not None and fell < 0:
        out.append(
            "the chosen answers became less likely, which is usual for preference losses; an sft "
            "term (--loss sigmoid,sft=0.1) mends it"
        )
    if "reward_change" in found and "gold_change" not in found and "judge_win_rate" not in found:
        out.append("neither gold reward nor judge was asked, so hacking would not be seen")
    if "reward_change" in found and groups < 30:
        few = f"{groups} prompts" if groups > 1 else "one prompt"
        out.append(f"only {few}: intervals are wide")
    if values.get("no_opinion"):
        out.append(f"the reward has no opinion on {values['no_opinion']:.0%} of the answers")
    return out


def _low(found: Mapping[str, Estimate], name: str) -> float | None:
    return found[name].low if name in found else None


def _high(found: Mapping[str, Estimate], name: str) -> float | None:
    return found[name].high if name in found else None


def _figure(estimate: Estimate) -> str:
    if estimate.value is None:
        return "unknown"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
