"""What was measured of a model, as records: the JSON of `evaluate` and `calibrate`.

Tables, notes, pages and cards read these; see `reward_model.stats.reports` for how they are read
back and written.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from reward_model.stats.bootstrap import Estimate
from reward_model.stats.reports import Number, Report


class Metrics(Report):
    """Every number of one predictor on one set of texts."""

    element_accuracy: Number
    """Levels right, over text x dimension."""
    all_dimensions_accuracy: Number
    pair_accuracy: Number
    pair_ties: Number
    neutral_gap: Number
    """How far a rewrite that changes nothing moves the reward."""
    reward_correlation: Number = Estimate(None)
    """Pearson's, of the reward with that of the labels; older results have none."""
    dimensions: dict[str, dict[str, Number]]
    """Dimension -> metric (`stats.words.LABELS` has the names) -> number."""


class Slice(Metrics):
    """The same on some of the texts."""

    texts: int


class Comparison(Report):
    """The model minus its best baseline, on one metric."""

    dimension: str | None
    """None: the reward."""
    metric: str
    model: float | None
    baseline: str | None = None
    baseline_value: float | None = None
    difference: Number = Estimate(None)
    verdict: str
    """`better`, `worse`, `unclear` or `unknown`."""
    reason: str | None = None


class BesideScalar(Report):
    """The model and a Bradley-Terry scalar on one metric."""

    dimension: str | None
    metric: str
    model: Number
    scalar: Number
    difference: Number
    verdict: str


class ScalarPairs(Report):
    """What a scalar can learn from."""

    train: int
    validation: int = 0
    left_out: dict[str, int]
    """`tied` and `neutral` pairs say nothing of what is better."""


class ScalarTraining(Report):
    """How the scalar was trained, beside how the model was."""

    model_config = ConfigDict(extra="allow", frozen=True)  # its settings, as TRL names them

    by: str
    """The trainer and its version."""
    pairs: ScalarPairs
    steps: int
    texts_seen: dict[str, int]
    picked_by: str
    dropout: str = ""


class ScalarReport(Report):
    """How the scalar was trained, and what came of it."""

    training: ScalarTraining
    comparisons: list[BesideScalar]


class ByChance(Report):
    """What a perfectly calibrated model shows on as many texts."""

    mean: float
    high: float
    """Exceeded once in 20 times."""


class Scaled(Report):
    """What a temperature did to the calibration error of a head."""

    temperature: float
    ece_before: Number
    ece_after: Number
    change: Number


class EvaluatedTexts(Report):
    """What was measured."""

    part: str
    texts: int
    groups: int
    pairs: int
    neutral_pairs: int = 0
    training_texts_for_baselines: int = 0
    records_without_scores: int = 0


class DrawSettings(Report):
    """How intervals were drawn."""

    seed: int
    resamples: int


class EvaluationSettings(DrawSettings):
    """What it was asked with."""

    weights: dict[str, float]


class EvaluationInput(Report):
    """What the model reads, and what of the texts it did not."""

    max_length: int
    evidence: str
    max_prompt_length: int | None = None
    """Most tokens of a prompt; 0: the model reads none."""
    prompts_truncated: float
    """Share of the texts."""
    responses_truncated: float
    no_opinion: dict[str, int] = Field(default_factory=dict)
    """Reason -> texts without a score."""


class Kind(Report):
    """The whole again on the kinds that were trained on, or on those that never were."""

    texts: int
    pairs: int
    groups: int
    metrics: dict[str, Metrics]
    comparisons: list[BesideScalar] = Field(default_factory=list)


class FamiliarTexts(Report):
    """Texts whose familiarity is above `low` and at most `high`."""

    low: float
    high: float
    texts: int
    accuracy: Number
    """Levels right."""
    error: Number
    """Mean absolute error of the expected level, in levels."""


class Covered(Report):
    """What is left of the error where only some texts are answered."""

    share: float
    """Of the texts."""
    error: float
    """Where those are the most familiar ones."""
    error_by_spread: float
    """Where those are the ones whose levels the model is surest of."""
    error_at_best: float
    """Where those are the ones with the least error: no order does better."""


class ByFamiliarity(Report):
    """How right a model is on what it knows well, and on what it does not."""

    texts: int
    bins: list[FamiliarTexts]
    coverage: list[Covered]


Ready = Literal["yes", "with care", "no", "not known"]


class Answer(Report):
    """What the numbers come to for somebody who wants to use the model as a reward."""

    ready: Ready
    because: list[str]
    """Reasons of that verdict, the gravest first."""
    next: str
    """Command to run next."""
    findings: list[str]
    """At most five more things to know."""

    @property
    def verdict(self) -> str:
        """The verdict in a line."""
        return self.to("ready to use as a reward")

    def to(self, question: str) -> str:
        """The answer to something, in a line."""
        why = f", because {'; '.join(self.because)}" if self.because else ""
        return f"{question}: {self.ready}{why}"


class EvaluationReport(Report):
    """A model on held-out texts, beside its baselines."""

    model: str = ""
    """Its folder; a model card leaves it out."""
    file: str
    rubric: str
    split: EvaluatedTexts
    settings: EvaluationSettings
    input: EvaluationInput
    labels: dict[str, dict[str, dict[str, int]]]
    """Dimension -> side -> level -> texts."""
    baseline_text: str
    """What the baselines read and learned from."""
    baseline_notes: list[str] = Field(default_factory=list)
    metrics: dict[str, Metrics]
    """`model`, the baselines, and `bradley_terry` where it was asked for."""
    titles: dict[str, str]
    ece_if_perfect: dict[str, ByChance | None]
    """Dimension -> the calibration error that chance alone gives."""
    calibration: dict[str, Scaled] = Field(default_factory=dict)
    comparisons: list[Comparison]
    slices: dict[str, dict[str, Slice]] = Field(default_factory=dict)
    familiarity: ByFamiliarity | None = None
    """None where the model does not tell."""
    bradley_terry: ScalarReport | None = None
    by_training: dict[str, Kind] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    """What a reader of the numbers has to know."""
    answer: Answer | None = None
    """What it all comes to; None where an earlier version measured."""


class PreferenceMetrics(Report):
    """How often the preferred response has the higher number."""

    pairs: int
    groups: int
    pair_accuracy: Number
    """Of the reward, strictly higher."""
    pair_ties: Number
    dimensions: dict[str, dict[str, Number]]
    """Dimension -> `pair_accuracy` and `pair_ties` of its expected level."""


class PreferredPairs(Report):
    """What was measured."""

    part: str
    read: int
    measured: int
    groups: int
    tied: int
    """Without a preference."""
    no_opinion: int
    """With a response that has no score."""
    trained_on: int
    """Of groups that were left out."""


class PreferenceReport(Report):
    """A model on pairs without levels."""

    model: str = ""
    file: str
    rubric: str
    pairs: PreferredPairs
    settings: EvaluationSettings
    input: EvaluationInput
    metrics: PreferenceMetrics
    longer_wins: Number
    """Share of the pairs whose preferred response is the longer one: what length alone gets."""
    subsets: dict[str, PreferenceMetrics]
    notes: list[str]
    """What a reader of the numbers has to know."""
    answer: Answer | None = None
    """What it all comes to; None where an earlier version measured."""


class Moved(Report):
    """A number before and after the temperature, drawn on the same groups."""

    before: Number
    after: Number
    change: Number
    if_perfect: ByChance | None = None
    """Of the calibration error alone."""


class HeadNumbers(Report):
    """What a temperature did to one head on one set of texts."""

    ece: Moved
    mae_expected: Moved
    """Mean absolute error of the expected level."""
    nll: Moved
    """Mean negative log-likelihood of the labels."""


class Head(Report):
    """The temperature of one head, and what it did."""

    temperature: float
    kept: str | None = None
    """Why it stays as it was, where none could be fitted."""
    fitted: HeadNumbers
    """On the texts it was fitted on."""
    test: HeadNumbers | None = None
    """On others, where there are."""

    @property
    def independent(self) -> HeadNumbers:
        """On texts that it was not fitted on, as far as there are any."""
        return self.test or self.fitted


class FittedTexts(Report):
    """What temperatures were fitted on."""

    part: str
    """`validation`, `test` or `whole file`."""
    texts: int
    groups: int
    data: str = ""
    """Fingerprint of the texts."""


class OtherTexts(Report):
    """What they were measured on beside it."""

    texts: int
    groups: int


class CalibrationReport(Report):
    """One temperature a head, and what it changed."""

    model: str = ""
    """Its folder; a model card leaves it out."""
    file: str
    rubric: str
    fitted_on: FittedTexts
    test: OtherTexts
    settings: DrawSettings
    temperatures: dict[str, float]
    dimensions: dict[str, Head]
    notes: list[str] = Field(default_factory=list)
    """What a reader of the numbers has to know."""
