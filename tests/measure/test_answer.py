"""The verdict on a model: what an engineer acts on, and no claim beyond an interval."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reward_model.cli.evaluate import first_table
from reward_model.measure.evaluation.answer import MOST, answer
from reward_model.model.card.text import card_text
from reward_model.stats.bootstrap import Estimate
from reward_model.stats.evaluated import (
    ByChance,
    Comparison,
    EvaluatedTexts,
    EvaluationInput,
    EvaluationReport,
    EvaluationSettings,
    Metrics,
    Slice,
)
from reward_model.stats.words import LABELS

NAMES = ("depth", "professionalism", "accuracy")


def estimate(value: float | None, half: float = 0.05, n: int = 400) -> Estimate:
    return Estimate(None, 0) if value is None else Estimate(value, n, value - half, value + half)


def metrics(pairs: Estimate, kappa: float = 0.7) -> Metrics:
    head = {name: estimate(0.05, 0.01) for name in LABELS} | {"kappa": estimate(kappa)}
    nothing = Estimate(None, 0)
    return Metrics(
        element_accuracy=estimate(0.7),
        all_dimensions_accuracy=estimate(0.4),
        pair_accuracy=pairs,
        pair_ties=nothing,
        neutral_gap=nothing,
        dimensions=dict.fromkeys(NAMES, head),
    )


def compared(
    verdict: str, model: float = 0.9, baseline: float = 0.8, metric: str = "pair_accuracy"
) -> Comparison:
    return Comparison(
        dimension=None,
        metric=metric,
        model=model,
        baseline="tfidf",
        baseline_value=baseline,
        verdict=verdict,
    )


def report(pairs: Estimate | None = None, **changes: Any) -> EvaluationReport:
    """A model that is fit for use, but for what is changed."""
    given = {"max_length": 1024, "evidence": "none", "max_prompt_length": None}
    return EvaluationReport(
        **{
            "model": "run/best",
            "file": "scored.jsonl",
            "rubric": "financial_report@1",
            "split": EvaluatedTexts(part="test", texts=800, groups=40, pairs=400),
            "settings": EvaluationSettings(seed=0, resamples=1000, weights={}),
            "input": EvaluationInput(**given, prompts_truncated=1.0, responses_truncated=0.0),
            "labels": {},
            "baseline_text": "",
            "metrics": {"model": metrics(pairs or estimate(0.9)), "tfidf": metrics(estimate(0.8))},
            "titles": {},
            "ece_if_perfect": {name: ByChance(mean=0.04, high=0.06) for name in NAMES},
            "comparisons": [compared("better")],
            **changes,
        }
    )


def longer(right: Estimate) -> dict[str, dict[str, Slice]]:
    return {"longer side": {"rejected": Slice(**dict(metrics(right)), texts=80)}}


@pytest.mark.parametrize(
    ("measured", "ready", "because", "next_"),
    [
        (report(), "yes", None, "reward-model audit run/best scored.jsonl"),
        # "No" only where the whole interval says so.
        (report(estimate(0.53)), "no", "better than a coin (53% [48–58%])", "judge validate"),
        (report(estimate(0.62)), "with care", "less than 60% (62% [57–67%])", "judge validate"),
        (report(estimate(0.66)), "yes", None, "reward-model audit"),
        (
            report(comparisons=[compared("worse", 0.7)]),
            "no",
            "TF-IDF orders more pairs right, beyond doubt (80%)",
            "judge validate",
        ),
        (
            report(comparisons=[compared("unclear", 0.79)]),
            "with care",
            "not ahead of TF-IDF beyond doubt in the order of pairs (80%)",
            "reward-model audit",
        ),
        (
            report(comparisons=[compared("unclear", 1.0, 1.0)]),
            "with care",
            "TF-IDF orders every pair right as well: these are too easy to tell them apart",
            "reward-model audit",
        ),
        # Easy pairs tell nobody from anybody; how closely the labels are followed does.
        (
            report(
                comparisons=[
                    compared("unclear", 1.0, 1.0),
                    compared("better", 0.94, 0.9, "reward_correlation"),
                ]
            ),
            "yes",
            None,
            "reward-model audit",
        ),
        (
            report(
                comparisons=[
                    compared("unclear", 1.0, 1.0),
                    compared("unclear", 0.91, 0.9, "reward_correlation"),
                ]
            ),
            "with care",
            "these are too easy to tell them apart",
            "reward-model audit",
        ),
        (
            report(
                comparisons=[
                    compared("better"),
                    compared("worse", 0.8, 0.9, "reward_correlation"),
                ]
            ),
            "with care",
            "TF-IDF follows the reward of the labels more closely, beyond doubt",
            "judge validate",
        ),
        (
            report(
                comparisons=[
                    compared("worse", 0.7),
                    compared("better", 0.94, 0.9, "reward_correlation"),
                ]
            ),
            "no",
            "TF-IDF orders more pairs right, beyond doubt (80%)",
            "judge validate",
        ),
        (report(slices=longer(estimate(0.4))), "no", "it follows length", "reward-model audit"),
        (
            report(slices=longer(estimate(0.4, 0.2))),
            "with care",
            "where the worse side is longer it is right in 40% [20–60%]",
            "reward-model audit",
        ),
        (
            report(ece_if_perfect={"depth": ByChance(mean=0.01, high=0.02)}),
            "with care",
            "confidence in depth is not calibrated",
            "reward-model calibrate run/best scored.jsonl",
        ),
        (
            report(metrics={"model": metrics(estimate(0.9), kappa=0.03)}),
            "with care",
            "levels of depth, professionalism and accuracy are not shown to be better than guessed",
            "reward-model labels",
        ),
        # What was not measured is no fault of the model's, and no praise either.
        (
            report(split=EvaluatedTexts(part="test", texts=9, groups=3, pairs=4)),
            "not known",
            "only 3 prompts or companies were measured",
            "--test-share",
        ),
        (
            report(metrics={"model": metrics(Estimate(None, 0))}, comparisons=[]),
            "not known",
            "no pair of a better and a worse answer",
            "reward-model evaluate run/best PAIRS",
        ),
        (
            report(
                input=EvaluationInput(
                    max_length=64,
                    evidence="none",
                    prompts_truncated=0.0,
                    responses_truncated=0.2,
                    no_opinion={"empty": 80},
                )
            ),
            "with care",
            "20% of the responses were not read whole; 10% of the texts got no score",
            "--max-length",
        ),
    ],
)
def test_a_verdict_and_what_to_do(
    measured: EvaluationReport, ready: str, because: str | None, next_: str
) -> None:
    found = answer(measured)
    assert found.ready == ready
    if because is None:
        assert found.because == []
    else:
        assert because in "; ".join(found.because)
        assert because in found.verdict
    assert next_ in found.next
    assert len(found.findings) <= MOST
    assert not set(found.because) & set(found.findings)


def test_the_command_names_the_file_as_it_was_given(tmp_path: Path) -> None:
    assert answer(report(), tmp_path / "x.jsonl").next.endswith(str(tmp_path / "x.jsonl"))


def test_the_card_begins_with_it_and_says_nothing_twice() -> None:
    measured = report(comparisons=[compared("unclear", 0.79)])
    found = answer(measured)
    measured = measured.model_copy(update={"answer": found, "notes": [*found.findings, "more"]})
    text = card_text({"evaluation": measured.to_json()}, None)
    quality = text[text.index("## Quality") :]
    assert quality.startswith("## Quality\n\nReady to use as a reward: **with care**, because it")
    for sentence in [*found.findings, "more"]:
        assert quality.count(f"- {sentence}\n") == 1


def test_the_first_table_fits_80_columns() -> None:
    rows = {name: metrics(estimate(0.8)) for name in ("model", "majority", "length", "tfidf")}
    told = first_table(report(metrics=rows), "400 held-out pairs of 40 groups")
    out = io.StringIO()
    Console(file=out, width=80).print(told)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("0.800 [0.75, 0.85]" in line for line in lines) == 1
    assert any("professionalism levels" in line and "0.700" in line for line in lines)
