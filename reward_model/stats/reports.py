"""What was measured, as records: the JSON of `audit`, and what tables, notes and cards read.

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
