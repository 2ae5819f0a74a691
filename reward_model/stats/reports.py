"""What was measured, as records: the JSON of `evaluate` and `audit`, and what cards read.

`Report.to_json()` gives the JSON, `model_validate` reads it back, also from the card of a model
that an earlier version measured. Keys are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from reward_model.stats.bootstrap import Estimate


def _read(value: Any) -> Any:
    return Estimate(**value) if isinstance(value, Mapping) else value


Number = Annotated[
    Estimate, BeforeValidator(_read), PlainSerializer(Estimate.to_json, return_type=dict)
]
"""A number with its interval; in JSON an object of `value`, `low`, `high` and `n`."""


class Report(BaseModel):
    """A part of a result; keys of later versions are left out where it is read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    def to_json(self) -> dict[str, Any]:
        """The JSON: what was measured, and no key for what was not."""
        return self.model_dump(exclude_unset=True)


class Changed(Report):
    """What a probe did to one dimension, or to the reward."""

    change: Number
    """Mean change, in levels; of the reward in 0 to 1."""
    raised: Number
    """Share of texts raised by more than was let pass."""
    verdict: str
    """`raised`, `not lowered` and `unseen` are problems; see `measure.probing.run.verdict`."""


class Probed(Report):
    """One probe on all texts."""

    what: str
    """The edit, in words."""
    expects: str = "must_not_raise"
    lowers: list[str] = []
    """Dimensions that must fall."""
    may_raise: list[str] = []
    """Dimensions that the edit does add to."""
    texts: int
    """Measured: edited, seen by the model and scored."""
    not_applicable: int
    unseen: int
    """Edits beyond the tokens that the model reads."""
    share_unseen: float | None = None
    no_opinion: int
    share_cut: float | None = None
    """Of those measured, edited responses that lost their middle."""
    reward_change_by_side: dict[str, float] = {}
    dimensions: dict[str, Changed]
    reward: Changed

    @property
    def edited(self) -> int:
        """Texts that there was something to edit in."""
        return self.texts + self.unseen + self.no_opinion

    def columns(self) -> dict[str, Changed]:
        """By dimension, the reward last."""
        return {**self.dimensions, "reward": self.reward}


class Finding(Report):
    """A verdict that somebody should know of."""

    probe: str
    dimension: str
    """`reward` for the reward."""
    verdict: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None
    words: str = ""
    """All of it in a sentence."""

    @property
    def change(self) -> Estimate:
        """The mean change."""
        return Estimate(self.value, self.n, self.low, self.high, self.reason)


class AuditedTexts(Report):
    """What was edited."""

    part: str
    texts: int
    groups: int
    of_texts: int = 0
    """Held-out texts that they were drawn from."""


class AuditSettings(Report):
    """What it was asked with."""

    seed: int
    sample: int
    resamples: int
    threshold: float
    """Mean rise in levels that is let pass."""
    reward_threshold: float
    """The same of the reward, in 0 to 1."""
    weights: dict[str, float]
    temperatures: dict[str, float] | None = None


class AuditInput(Report):
    """What the model reads."""

    max_length: int
    evidence: str


class AuditReport(Report):
    """What edits that add no quality did to a model's scores."""

    model: str = ""
    """Its folder; a model card leaves it out."""
    file: str
    rubric: str
    split: AuditedTexts
    settings: AuditSettings
    input: AuditInput
    probes: dict[str, Probed]
    not_asked: list[str] = []
    """Probes that were left out."""
    findings: list[Finding] = []
    """Problems."""
    unclear: list[Finding] = []
    """What the intervals leave open."""
    notes: list[str] = []
    """What a reader of the numbers has to know."""

    def having(self, verdict: str) -> list[str]:
        """Probes with that verdict somewhere."""
        return [
            name
            for name, probe in self.probes.items()
            if any(column.verdict == verdict for column in probe.columns().values())
        ]

    @property
    def nothing_decided(self) -> bool:
        """No probe reached a verdict on anything."""
        said = {c.verdict for probe in self.probes.values() for c in probe.columns().values()}
        return said <= {"unknown", "unclear"}


class Metrics(Report):
    """Every number of one predictor on one set of texts."""

    element_accuracy: Number
    """Levels right, over text x dimension."""
    all_dimensions_accuracy: Number
    pair_accuracy: Number
    pair_ties: Number
    neutral_gap: Number
    """How far a rewrite that changes nothing moves the reward."""
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


class ScalarReport(Report):
    """How the scalar was trained, and what came of it."""

    training: dict[str, Any]
    comparisons: list[BesideScalar]


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


class EvaluationSettings(Report):
    """What it was asked with."""

    seed: int
    resamples: int
    weights: dict[str, float]


class EvaluationInput(Report):
    """What the model reads, and what of the texts it did not."""

    max_length: int
    evidence: str
    prompts_truncated: float
    """Share of the texts."""
    responses_truncated: float
    no_opinion: dict[str, int] = {}
    """Reason -> texts without a score."""


class Kind(Report):
    """The whole again on the kinds that were trained on, or on those that never were."""

    texts: int
    pairs: int
    groups: int
    metrics: dict[str, Metrics]
    comparisons: list[BesideScalar] = []


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
    baseline_notes: list[str] = []
    metrics: dict[str, Metrics]
    """`model`, the baselines, and `bradley_terry` where it was asked for."""
    titles: dict[str, str]
    ece_if_perfect: dict[str, dict[str, float] | None]
    """Dimension -> `mean` and `high` of the calibration error that chance alone gives."""
    calibration: dict[str, Scaled] = {}
    comparisons: list[Comparison]
    slices: dict[str, dict[str, Slice]] = {}
    bradley_terry: ScalarReport | None = None
    by_training: dict[str, Kind] = {}
    notes: list[str] = []
    """What a reader of the numbers has to know."""
