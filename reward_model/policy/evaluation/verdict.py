"""Is a policy better than what it began from? One verdict, why, and what to do next.

`verdicts(result)` is what terminal and page begin with. It says "yes" only where a whole interval
of something that the policy was not trained on says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reward_model.policy.evaluation.words import figure
from reward_model.stats.evaluated import Answer, Ready

_GAINS = (
    ("judge_win_rate", 0.5, "the judge prefers its answers in {n}"),
    ("gold_change", 0.0, "the gold reward changed by {n}"),
    ("reward_change", 0.0, "the reward changed by {n}"),
    ("implicit_accuracy", 0.5, "it moved towards the chosen answer in {n} of the held-out pairs"),
)
"""What is looked at, the value of no change, and how it is said; the most telling first."""
_INDEPENDENT = ("judge_win_rate", "gold_change")
"""Of these, what a policy was not trained on."""
_MORE = (
    ("preference_accuracy", "of the held-out pairs it orders {n} right"),
    ("kl", "KL to the reference is {n} nats"),
    ("length_ratio", "answers are {n} times as long"),
)


def verdicts(result: Mapping[str, Any]) -> dict[str, Answer]:
    """Of each policy that was compared with another, by name.

    Args:
        result: what `evaluate` gives.
    """
    runs = result["runs"]
    return {name: _verdict(name, run) for name, run in runs.items() if run.get("reference")}


def _verdict(name: str, run: Mapping[str, Any]) -> Answer:
    intervals = run.get("intervals") or {}
    ready: Ready = "not known"
    because = ["nothing was measured that tells it from its reference"]
    told = next((gain for gain in _GAINS if run.get(gain[0]) is not None), None)
    if told is not None:
        key, still, words = told
        around = intervals.get(key) or {}
        low, high = around.get("low"), around.get("high")
        because = [f"{words.format(n=figure(run, key))}, which may be chance"]
        if low is not None and low > still:
            ready, because = "yes", []
            if key not in _INDEPENDENT:
                ready, because = "with care", ["what it was trained on alone says so"]
        elif high is not None and high < still:
            ready, because = "no", [words.format(n=figure(run, key))]
    if run["problems"]:
        ready, because = "no", [problem["why"] for problem in run["problems"]]
    commands = {
        "yes": f"reward-model policy chat {name}",
        "with care": f"reward-model policy evaluate {name} --gold ANOTHER_REWARD",
        "not known": f"reward-model policy evaluate {name} --prompts MORE_PROMPTS",
        "no": "",
    }
    more = [*((gain, words) for gain, _, words in _GAINS), *_MORE]
    known = [words.format(n=figure(run, key)) for key, words in more if run.get(key) is not None]
    findings = [one for one in known if not any(one in why for why in because)]
    return Answer(ready=ready, because=because, findings=findings[:5], next=commands[ready])
