"""`reward-model calibrate MODEL SCORED`: one temperature a head, so that confidence is kept to.

`calibrate(model, scored)` fits on the validation groups, measures there and on the test groups, and
stores the temperatures in the model's config.json; the weights stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from reward_model.data.columns import ColumnMap
from reward_model.data.dataset import Sample
from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.data.split import Split, fingerprint
from reward_model.measure.evaluation.words import calibration_words
from reward_model.measure.texts import (
    ece_if_perfect,
    probabilities_of,
    score_texts,
    split_of,
    truth_of,
)
from reward_model.records import IGNORE, UserError, write_json
from reward_model.records.hub import is_fetched
from reward_model.rubrics import Rubric
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import RESAMPLES, Bootstrap, Estimand, Floats, Ints
from reward_model.stats.evaluated import (
    ByChance,
    CalibrationReport,
    DrawSettings,
    FittedTexts,
    Head,
    HeadNumbers,
    Moved,
    OtherTexts,
)
from reward_model.stats.metrics import Truth, collect, mean_part

LOWEST, HIGHEST = 0.05, 20.0
"""An optimum outside is no calibration: logits that are next to equal, or no better than chance."""
FEWEST = 20
"""Labels of a head below which its temperature stays as it is."""
DRAWN = 2.0
"""Labels drawn at random that stand beside those of a fit: one more halves the gain where few
labels agree by luck, five make heads that are surely right unsure."""


def calibrate(
    model: Path,
    scored: Path,
    *,
    part: str = "auto",
    columns: ColumnMap | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    device: str | None = None,
    batch_tokens: int | None = None,
) -> CalibrationReport:
    """Fit, measure and store; `.to_json()` of it is the JSON.

    Args:
        model: folder of a trained model; its config.json is written anew, unless it is a copy from
            a hub.
        scored: scored pairs or single responses.
        columns: which columns hold what, for rows of another shape.
        part: `validation` or `test` groups of the model's split to fit on; `auto`: validation, or
            the whole of a file that training knows nothing of.
        seed: of the bootstrap.
        resamples: bootstrap draws.
        device: where the model runs.
        batch_tokens: most tokens of a batch.

    Raises:
        UserError: the model does not load, a file is wrong, or nothing is there to fit on.
    """
    from reward_model.model.folder import read_rubric

    rubric = read_rubric(model)
    samples, _ = read_samples(scored, rubric, columns=columns)
    name, texts, test, words = _divide(samples, split_of(model), part)
    scorer = RewardScorer.from_pretrained(model, device=device, batch_tokens=batch_tokens)
    stored = scorer.model.config.temperatures or {}
    scorer.model.config.temperatures = None  # always from the raw logits, however often it is run
    fit = _Rows(scorer, texts, seed, resamples)
    temperatures: dict[str, float] = {}
    kept: dict[str, str] = {}
    for j, dimension in enumerate(rubric.names):
        value, reason = fit_temperature(fit.raw[:, j], fit.labels[:, j])
        if reason is not None:
            value, kept[dimension] = stored.get(dimension, 1.0), reason
        temperatures[dimension] = value
    if len(kept) == len(rubric.names):
        raise UserError(
            "no dimension to fit a temperature of: "
            + "; ".join(f"{dimension}: {reason}" for dimension, reason in kept.items()),
            expected=f"at least {FEWEST} held-out labels of several levels in one of them",
            mend="give more texts; the model stays as it was",
            path=scored,
        )
    parts = {"fitted": fit.measure(temperatures)}
    if len(test):
        parts["test"] = _Rows(scorer, test, seed, resamples).measure(temperatures)
    heads: dict[str, Head] = {}
    for dimension, value in temperatures.items():
        more: dict[str, Any] = {where: found[dimension] for where, found in parts.items()}
        if dimension in kept:
            more["kept"] = kept[dimension]
        heads[dimension] = Head(temperature=value, **more)
    report = CalibrationReport(
        model=str(model),
        file=scored.name,
        rubric=rubric.id,
        fitted_on=FittedTexts(
            part=name, texts=len(texts), groups=fit.groups, data=fingerprint(texts)
        ),
        test=OtherTexts(texts=len(test), groups=len({sample.group for sample in test})),
        settings=DrawSettings(seed=seed, resamples=resamples),
        temperatures=temperatures,
        dimensions=heads,
    )
    if not is_fetched(model):
        store(model, temperatures)
    return report.model_copy(update={"notes": words + _notes(report)})


def fit_temperature(logits: Floats, labels: Ints) -> tuple[float, str | None]:
    """The temperature with the least cross-entropy; 1 and the reason where none is fit.

    Its targets are `unseen_targets`: fifty labels that agree with the head by luck would make it
    surer than it is of other texts.

    Args:
        logits: [n, K] of one head, up to a constant a row; rows that are no numbers are left out.
        labels: [n] levels, `IGNORE` where nobody scored.

    >>> logits = np.log(np.array([[0.9, 0.1]] * 300))
    >>> labels = np.array([0] * 200 + [1] * 100)
    >>> round(fit_temperature(logits, labels)[0], 2)  # 9 to 1 is said where 2 to 1 is right
    3.17
    """
    from scipy.optimize import minimize_scalar

    keep = (labels != IGNORE) & np.isfinite(logits).all(axis=1)
    z, y = logits[keep], labels[keep]
    if len(y) < FEWEST:
        return 1.0, f"{len(y)} labels, fewer than {FEWEST}"
    if len(np.unique(y)) == 1:
        return 1.0, f"only level {y[0]} among the labels"
    if (z.argmax(axis=1) == y).all():
        return 1.0, "every label is guessed right, so that no confidence is too high"
    bounds = (np.log(LOWEST), np.log(HIGHEST))
    target = unseen_targets(y, z.shape[1])
    found = minimize_scalar(
        lambda x: float(-(target * log_softmax(z / np.exp(x), axis=1)).sum(axis=1).mean()),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-9},
    )
    if found.x - bounds[0] < 0.01:
        return 1.0, f"the head's logits are next to equal: a temperature below {LOWEST} would fit"
    if bounds[1] - found.x < 0.01:
        return 1.0, "the head guesses no better than chance, so that no confidence is low enough"
    return float(np.exp(found.x)), None


def unseen_targets(labels: Ints, levels: int) -> Floats:
    """[n] labels -> [n, K]: what to expect of as many labels again, given `DRAWN` at random.

    Smoothed by the frequency of the levels instead of evenly, as Platt did for two classes
    (Platt 1999, 2.2): a rare level stays rare.

    >>> unseen_targets(np.array([0] * 6 + [1] * 2), 2)[[0, 7]].tolist()
    [[0.95, 0.05], [0.15, 0.85]]
    """
    counts = np.bincount(labels, minlength=levels)
    often = counts / len(labels)
    return np.asarray(
        (np.eye(levels)[labels] * len(labels) + DRAWN * often) / (len(labels) + DRAWN)
    )


def losses(logits: Floats, labels: Ints) -> Floats:
    """Negative log-likelihood of each label [n] under logits [n, K]."""
    return np.asarray(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels])


def store(model: Path, temperatures: dict[str, float]) -> None:
    """Write the temperatures into config.json of a model folder, whole or not at all."""
    path = model / "config.json"
    config = json.loads(path.read_bytes())
    write_json(path, {**config, "temperatures": temperatures})


class _Rows:
    """Texts with their raw logits and labels."""

    def __init__(
        self, scorer: RewardScorer, samples: Sequence[Sample], seed: int, resamples: int
    ) -> None:
        self.rubric: Rubric = scorer.rubric
        self.truth: Truth = truth_of(samples, self.rubric)
        self.labels = self.truth.labels
        self.groups = len(set(self.truth.groups))
        self.seed, self.resamples = seed, resamples
        chances = probabilities_of(score_texts(scorer, samples), self.rubric)
        # A chance of 0 in double precision is a logit some 745 below the others.
        self.raw: Floats = np.log(np.maximum(chances, np.finfo(np.float64).tiny))

    def measure(self, temperatures: dict[str, float]) -> dict[str, HeadNumbers]:
        """Dimension -> its numbers before and after, and what changed, drawn together."""
        by_dimension = np.array([temperatures[name] for name in self.rubric.names])
        after = self.raw / by_dimension[:, None]
        one, two = (
            collect(
                softmax(logits, axis=-1),
                self.truth,
                weights=self.rubric.weights,
                resamples=self.resamples,
                seed=self.seed,
            )
            for logits in (self.raw, after)
        )
        floor = ece_if_perfect(softmax(after, axis=-1), self.truth, self.seed)

        def moved(key: str, **more: ByChance | None) -> Moved:
            change = two.difference(one, key)
            return Moved(before=one.estimate(key), after=two.estimate(key), change=change, **more)

        out: dict[str, HeadNumbers] = {}
        for j, name in enumerate(self.rubric.names):
            before, then = (self._loss(one.bootstrap, z[:, j], j) for z in (self.raw, after))
            out[name] = HeadNumbers(
                ece=moved(f"{name}.ece", if_perfect=floor[name]),
                mae_expected=moved(f"{name}.mae_expected"),
                nll=Moved(
                    before=one.bootstrap.estimate(before),
                    after=one.bootstrap.estimate(then),
                    change=one.bootstrap.difference(then, before),
                ),
            )
        return out

    def _loss(self, bootstrap: Bootstrap, logits: Floats, j: int) -> Estimand:
        labels = self.labels[:, j]
        rows = np.flatnonzero((labels != IGNORE) & np.isfinite(logits).all(axis=1))
        reason = None if len(rows) else "no labels"
        return mean_part(bootstrap, losses(logits[rows], labels[rows]), rows, reason)


def _divide(
    samples: Sequence[Sample], split: Split | None, part: str
) -> tuple[str, Sequence[Sample], Sequence[Sample], list[str]]:
    """(name, texts to fit on, untouched texts to measure on, what a reader should know)."""
    known = {group for groups in split.groups.values() for group in groups} if split else set()
    if split is None or not any(sample.group in known for sample in samples):
        wanted: Any = part
        held = choose(samples, split, wanted)
        return "whole file", held.test, [], held.words
    name = "validation" if part == "auto" else part
    texts = split.select(samples, "test" if name == "test" else "validation")
    if not len(texts):
        raise UserError(
            f"no text of the {name} groups in the file",
            expected="held-out texts to fit temperatures on",
            mend="train with --eval-share above 0, or give a file of texts that training never saw"
            + ("" if name == "test" else "; --split test fits on the test groups"),
        )
    words = []
    if fingerprint(samples) != split.data:
        words.append("the file is not the one that was split; its groups are matched by name")
    strange = sum(sample.group not in known for sample in samples)
    if strange:
        words.append(f"texts of groups that the split does not know, left out: {strange}")
    return name, texts, [] if name == "test" else split.select(samples, "test"), words


def _notes(report: CalibrationReport) -> list[str]:
    """What a reader of the numbers has to know, each a sentence."""
    fitted, test = report.fitted_on, report.test
    where = "the whole file" if fitted.part == "whole file" else f"{fitted.part} groups"
    words = [
        f"fitted on {fitted.texts} texts of {fitted.groups} groups ({where}): "
        "numbers on these very texts are optimistic"
    ]
    if test.texts:
        words.append(f"measured on {test.texts} texts of {test.groups} test groups as well")
    else:
        words.append("no other held-out texts in this file: there is no independent measurement")
    for name, head in report.dimensions.items():
        if head.kept is not None:
            words.append(f"{name}: temperature kept at {head.temperature:.4g} ({head.kept})")
            continue
        change = head.independent.ece.change.value
        if change is not None and change >= 0:
            words.append(
                f"{name}: the expected calibration error did not fall on the "
                f"{'fitted' if head.test is None else 'test'} texts ({change:+.3f})"
            )
    last = {name: head.independent.ece for name, head in report.dimensions.items()}
    words += calibration_words(
        {name: error.after.value for name, error in last.items()},
        {name: error.if_perfect for name, error in last.items()},
    )
    words.append("expected levels and rewards move with a temperature; the most likely level stays")
    return words
