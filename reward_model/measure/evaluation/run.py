"""`reward-model evaluate MODEL SCORED`: a model on held-out groups, beside simple baselines.

`evaluate(model, scored)` runs everything once and returns an `Evaluation`; `.report` has the
numbers, `.result` is its JSON, and the page is drawn from the same object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_model.data.columns import ColumnMap
from reward_model.data.dataset import Sample, get_label_distribution
from reward_model.data.held_out import HeldOut, Wanted, choose
from reward_model.data.reading import read_samples
from reward_model.data.split import Split
from reward_model.measure.evaluation.answer import answer
from reward_model.measure.evaluation.baselines import TITLES
from reward_model.measure.evaluation.familiarity import by_familiarity
from reward_model.measure.evaluation.fitting import fit_baselines, level_power
from reward_model.measure.evaluation.slices import slices_of
from reward_model.measure.evaluation.words import comparisons, notes
from reward_model.measure.evaluation.worst import explain_rows, worst_rows
from reward_model.measure.texts import (
    ece_if_perfect,
    fitted_on,
    input_of,
    probabilities_of,
    score_texts,
    split_of,
    truth_of,
    without_temperatures,
)
from reward_model.records.errors import require
from reward_model.rubrics import Rubric
from reward_model.score.scorer import RewardScorer, Score
from reward_model.score.sentences import Explanation
from reward_model.stats.bootstrap import RESAMPLES, Floats
from reward_model.stats.evaluated import (
    EvaluatedTexts,
    EvaluationReport,
    EvaluationSettings,
    Kind,
    ScalarReport,
    ScalarTraining,
    Scaled,
    Slice,
)
from reward_model.stats.metrics import Bools, Measured, Truth, collect

if TYPE_CHECKING:
    from reward_model.measure.comparison.scalar import ScalarPeer


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, and what it was measured on."""

    rubric: Rubric
    samples: Sequence[Sample]
    scores: list[Score]
    probabilities: Floats
    """[n, D, K]; NaN for texts without an opinion."""
    raw: Floats | None
    """The same before temperature scaling, where the model has temperatures."""
    truth: Truth
    report: EvaluationReport
    explained: dict[int, Explanation] = field(default_factory=dict)
    """Row -> which of its sentences carry the score; of the worst mistakes, where asked for."""

    @property
    def result(self) -> dict[str, Any]:
        """The JSON."""
        return self.report.to_json()


@dataclass(frozen=True)
class _Rows:
    """The measured texts, and how their numbers are drawn."""

    truth: Truth
    rubric: Rubric
    seed: int
    resamples: int

    def measure(self, chances: Floats, keep: Bools | None = None) -> Measured:
        """Every number of one predictor [n, D, K], on all rows or on those kept."""
        rows = self.truth if keep is None else self.truth.only(keep)
        return collect(
            chances if keep is None else chances[keep],
            rows,
            weights=self.rubric.weights,
            resamples=self.resamples,
            seed=self.seed,
        )

    def slice(self, chances: Floats, keep: Bools) -> Slice:
        """The record of one part of the texts."""
        found = self.measure(chances, keep).report(self.rubric.names)
        return Slice(**dict(found), texts=int(keep.sum()))


def evaluate(
    model: Path,
    scored: Path,
    *,
    part: Wanted = "auto",
    train_data: Path | None = None,
    columns: ColumnMap | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    device: str | None = None,
    batch_tokens: int | None = None,
    compare: bool = False,
    compare_out: Path | None = None,
    explain: int = 0,
) -> Evaluation:
    """Measure `model` on the held-out texts of `scored`.

    Args:
        model: folder of a trained model.
        scored: scored pairs or single responses.
        part: which texts; see `reward_model.data.held_out`.
        train_data: file the baselines learn from, where `scored` holds no training text.
        columns: which columns hold what, for rows of another shape.
        seed: of the bootstrap and the folds.
        resamples: bootstrap draws.
        device: where the model runs.
        batch_tokens: most tokens of a batch.
        compare: train a Bradley-Terry scalar beside it; see `reward_model.measure.comparison`.
        compare_out: folder to keep that one in.
        explain: explain as many of the worst pairs, and of the worst texts, sentence by sentence.

    Raises:
        UserError: the model does not load, or a file is wrong.
    """
    from reward_model.model.folder import read_rubric

    rubric = read_rubric(model)
    if compare:
        _check_compare(model, compare_out)
    samples, bare = read_samples(scored, rubric, columns=columns)
    split = split_of(model)
    held = choose(samples, split, part)
    held = replace(held, words=[*held.words, *fitted_on(model, held)])
    more = None if train_data is None else read_samples(train_data, rubric, columns=columns)[0]
    train = _training(held, split, more)
    if compare:
        from reward_model.measure.comparison.scalar import ScalarTexts, learnable, train_scalar

        learnable(train, rubric)
    scorer = RewardScorer.from_pretrained(model, device=device, batch_tokens=batch_tokens)
    scores = score_texts(scorer, held.test)
    probabilities = probabilities_of(scores, rubric)
    raw = without_temperatures(probabilities, scorer)
    truth = truth_of(held.test, rubric)
    baselines, learned = fit_baselines(scorer, held.test, train, level_power(model), seed)
    # Where the model has no opinion the baselines are not asked either: the same rows for all.
    silent = ~np.isfinite(probabilities).all(axis=(1, 2))
    for chances in baselines.values():
        chances[silent] = np.nan
    predictors = {"model": probabilities, **baselines}
    rows = _Rows(truth, rubric, seed, resamples)
    measured = {name: rows.measure(chances) for name, chances in predictors.items()}
    slices = slices_of(held.test, split)
    report = EvaluationReport(
        model=str(model),
        file=scored.name,
        rubric=rubric.id,
        split=_counts(held, truth, len(train), bare),
        settings=EvaluationSettings(seed=seed, resamples=resamples, weights=dict(rubric.weights)),
        input=input_of(scores, scorer),
        labels=get_label_distribution(held.test, rubric),
        baseline_text=learned[0],
        baseline_notes=learned[1:],
        metrics={name: one.report(rubric.names) for name, one in measured.items()},
        titles={"model": "this model", **{name: TITLES[name] for name in baselines}},
        ece_if_perfect=ece_if_perfect(probabilities, truth, seed),
        calibration={}
        if raw is None
        else _calibration(scorer, rows.measure(raw), measured["model"]),
        comparisons=comparisons(measured, rubric.names),
        slices={
            name: {value: rows.slice(probabilities, keep) for value, keep in values.items()}
            for name, values in slices.items()
        },
    )
    known = by_familiarity(scores, probabilities, truth, measured["model"].bootstrap)
    if known is not None:
        report = report.model_copy(update={"familiarity": known})
    scalar: Floats | None = None
    if compare:
        picked = split.select(samples, "validation") if split is not None else []
        trained = train_scalar(model, scorer, ScalarTexts(train, picked), held.test, compare_out)
        scalar = trained.values
        report = _beside_scalar(report, rows, measured["model"], probabilities, trained)
    kinds = {
        value: _kind(rows, predictors, keep, scalar)
        for value, keep in slices.get("training", {}).items()
    }
    if kinds:
        report = report.model_copy(update={"by_training": kinds})
    report = report.model_copy(
        update={"notes": held.words + notes(report, rubric), "answer": answer(report, scored)}
    )
    worst = worst_rows(truth, scores, probabilities, explain)
    explained = explain_rows(scorer, held.test, worst)
    return Evaluation(rubric, held.test, scores, probabilities, raw, truth, report, explained)


def _check_compare(model: Path, out: Path | None) -> None:
    """What a scalar needs and is not there is said before anything slow happens."""
    from reward_model.measure.comparison.scalar import check_place, read_run

    require("--compare", "rlhf", "trl")
    check_place(out)
    read_run(model)


def _counts(held: HeldOut, truth: Truth, train: int, bare: int) -> EvaluatedTexts:
    """How much was measured."""
    return EvaluatedTexts(
        part=held.part,
        texts=len(held.test),
        groups=len(set(truth.groups)),
        pairs=len(truth.pairs),
        neutral_pairs=len(truth.neutral),
        training_texts_for_baselines=train,
        records_without_scores=bare,
    )


def _beside_scalar(
    report: EvaluationReport, rows: _Rows, own: Measured, chances: Floats, scalar: ScalarPeer
) -> EvaluationReport:
    """The report with a Bradley-Terry scalar on the same texts."""
    from reward_model.measure.comparison.numbers import beside
    from reward_model.measure.comparison.scalar import SCALAR

    metrics, entries = beside(scalar.values, own, chances, rows.truth, rows.rubric.weights)
    return report.model_copy(
        update={
            "metrics": report.metrics | {SCALAR: metrics},
            "titles": report.titles | {SCALAR: "Bradley-Terry scalar"},
            SCALAR: ScalarReport(training=ScalarTraining(**scalar.training), comparisons=entries),
        }
    )


def _kind(
    rows: _Rows, predictors: Mapping[str, Floats], keep: Bools, scalar: Floats | None
) -> Kind:
    """Everything once more on the rows of some kinds, trained on or held out."""
    from reward_model.measure.comparison.numbers import beside
    from reward_model.measure.comparison.scalar import SCALAR

    names, truth = rows.rubric.names, rows.truth.only(keep)
    measured = {name: rows.measure(chances, keep) for name, chances in predictors.items()}
    metrics = {name: one.report(names) for name, one in measured.items()}
    more: dict[str, Any] = {}
    if scalar is not None:
        metrics[SCALAR], more["comparisons"] = beside(
            scalar[keep],
            measured["model"],
            predictors["model"][keep],
            truth,
            rows.rubric.weights,
        )
    return Kind(
        texts=int(keep.sum()),
        pairs=len(truth.pairs),
        groups=len(set(truth.groups)),
        metrics=metrics,
        **more,
    )


def _training(
    held: HeldOut, split: Split | None, more: Sequence[Sample] | None
) -> Sequence[Sample]:
    """What the baselines learn from: nothing that is measured."""
    if more is None:
        return [] if held.part == "all" else held.train
    known = set(split.groups["train"]) if split else None
    never = split.holds_out if split else lambda sample: False
    measured = {sample.group for sample in held.test}
    return [
        sample
        for sample in more
        if sample.group not in measured
        and (known is None or sample.group in known)
        and not never(sample)
    ]


def _calibration(scorer: RewardScorer, before: Measured, after: Measured) -> dict[str, Scaled]:
    """Dimension -> temperature and expected calibration error before and after it."""
    known = scorer.model.config.temperatures or {}
    return {
        name: Scaled(
            temperature=known.get(name, 1.0),
            ece_before=before.estimate(f"{name}.ece"),
            ece_after=after.estimate(f"{name}.ece"),
            change=after.difference(before, f"{name}.ece"),
        )
        for name in scorer.dimensions
    }
