"""What a validation found, as one JSON object: the schema `judge.validate/1` of `--json`.

Keys are only ever added under this version; `Report.model_validate_json(text)` reads one back.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Grade = Literal["excellent", "good", "fair", "poor"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gap(_Part):
    """Chosen minus rejected level over pairs; None where there are too few of them."""

    pairs: int
    """Pairs with a gap."""
    mean: float | None
    median: float | None
    min: float | None
    max: float | None
    sd: float | None
    """Sample standard deviation, n - 1."""
    positive: int
    negative: int
    zero: int
    positive_share: float | None


class Verdict(_Part):
    """Both conditions must hold for a grade; gaps are scaled to the rubric's span."""

    grade: Grade | None
    """None: no pair has a gap."""
    mean_gap: float | None
    positive_share: float | None
    needs: dict[Grade, tuple[float, float]]
    """Grade -> least mean gap and least positive share, for this rubric."""


class Labels(_Part):
    """How often each level 0, 1, ... was given in one dimension, controls left out."""

    chosen: list[int]
    rejected: list[int]
    chosen_missing: int
    rejected_missing: int


class NoiseFloor(_Part):
    """What a rewrite that changes nothing does to a level: a gap must rise above it."""

    pairs: int
    mean_gap: float | None
    mean_absolute_gap: float | None
    changed_share: float | None
    """Share of pair and dimension cells in which the level changed."""
    dimensions: dict[str, Gap]


class Cell(_Part):
    """Mean gap in one dimension of pairs with one degradation."""

    pairs: int
    groups: int
    mean: float | None
    low: float | None
    """95% interval by bootstrap over groups; None with fewer than two groups."""
    high: float | None
    targeted: bool


class DegradationRow(_Part):
    """One degradation across the dimensions, as a whole and by severity."""

    name: str
    title: str
    pairs: int
    targets: list[str]
    cells: dict[str, Cell]
    severities: dict[str, dict[str, Cell]]
    """Severity as text -> dimension -> cell; empty where no severity is recorded."""
    flags: list[str]
    """Codes of the findings about this row."""


class Feature(_Part):
    """What tells the sides apart."""

    name: str
    chosen: float | None
    """Mean on the chosen side (share of texts, for a phrase or a setting)."""
    rejected: float | None
    auc: float | None = None
    """Share of pairs in which this feature alone ranks the sides as chosen over rejected."""


class Shortcut(_Part):
    """Whether the sides can be told apart without reading them."""

    name: str
    result: Literal["clean", "leak", "cannot tell"]
    reason: str
    pairs: int
    groups: int
    auc: float | None
    """Share of held-out pairs ranked right by what is named, ties half; 0.5 is chance."""
    p_value: float | None
    """By swapping the sides of whole groups at random."""
    features: list[Feature]


class Halo(_Part):
    """How far the dimensions move together once the difference between the sides is taken out."""

    correlations: dict[str, float | None]
    """`depth/accuracy` -> Pearson correlation of levels, each centred on the mean of its side."""
    mean: float | None
    all_equal_share: float | None
    """Share of responses with the same level in every dimension."""


class Clustering(_Part):
    """How far the levels pile up on one value."""

    modal_level: int | None
    share: float | None
    chosen_share: float | None
    rejected_share: float | None
    unused: list[int]
    """Levels never given on either side."""


class Missing(_Part):
    """Levels that are not there."""

    unscored: int
    """Pairs without a `scores` object."""
    incomplete: int
    """Pairs with scores in which a level is null or left out."""
    share: float | None
    """Share of all levels that is missing."""
    by_dimension: dict[str, int]
    by_cause: dict[str, int]
    """Cause as the judge recorded it; `no scores`, `not recorded` for the rest."""
    failed_draws: dict[str, int]
    """Cause -> draws without a level, also where other draws gave one."""


class Duplicates(_Part):
    """The same thing more than once."""

    pairs: int
    """Pairs that repeat an earlier one, text for text."""
    same_sides: int
    """Pairs whose two sides are the same text."""
    conflicting: int
    """Texts that answer one prompt, stand in several pairs, and got different levels."""
    repeated: int
    """Texts that answer one prompt and stand in several scored pairs."""
    linked_prompts: list[list[str]]
    """Groups that share most lines with figures, so that no split may part them."""
    linked_prompts_share: float | None
    """Median share of such lines that linked groups have in common."""
    linked_texts: list[list[str]]
    """Groups that hold nearly the same response."""
    independent_groups: int
    """Groups left once linked ones count as one."""


class MissedError(_Part):
    """A planted error that did not lower the level."""

    line: int
    id: str
    error: str
    was: str
    now: str
    where: tuple[int, int]


class Planted(_Part):
    """Errors put in at known places, and whether the judge saw them."""

    dimension: str | None
    pairs: int
    """Pairs with planted errors and both levels."""
    found: int
    """Those whose rejected level is lower."""
    by_error: dict[str, tuple[int, int]]
    """Kind of error -> pairs found, pairs in all."""
    missed: list[MissedError]
    """The first 200."""


class Problem(_Part):
    """A pair worth a look, and why."""

    line: int
    id: str
    mean_gap: float | None
    reasons: list[str]


class Problems(_Part):
    """Problem pairs: scores missing, gap too small, negative where a degradation aims."""

    pairs: int
    by_reason: dict[str, int]
    listed: list[Problem]
    """The first 500."""


class Finding(_Part):
    """One thing to know or to mend, with the numbers it comes from."""

    code: str
    level: Literal["error", "warning", "note"]
    """An error makes the exit code 1."""
    message: str
    advice: str
    cell: dict[str, str]
    """Where it comes from: degradation, dimension, shortcut, ..."""
    numbers: dict[str, float | int | str | None]


class Filtered(_Part):
    """What the filters keep."""

    options: dict[str, float | int | bool | None]
    kept: int
    dropped: dict[str, int]
    """First reason that applies -> pairs."""
    path: str | None
    verdict: Verdict | None = None
    """Of the pairs that stay; None where no filter drops any."""


class Answer(_Part):
    """What the numbers come to for somebody who wants to train on the file."""

    ready: Literal["yes", "with care", "no"]
    because: list[str]
    """The gravest reasons of that verdict; none where it is yes."""
    next: str
    """Command to run next."""
    findings: list[str]
    """At most five more things to know."""


class SourceReport(_Part):
    """What was read."""

    path: str
    pairs: int
    preferences: int
    neutral: int
    scored: int
    groups: int
    rubric: str
    scale: int
    dimensions: list[str]
    judges: dict[str, int]
    generators: list[dict[str, str | float | None]]


class Report(_Part):
    """The whole result."""

    schema_: Literal["judge.validate/1"]
    source: SourceReport
    verdict: Verdict
    gap: Gap
    dimensions: dict[str, Gap]
    labels: dict[str, Labels]
    noise_floor: NoiseFloor
    specificity: list[DegradationRow]
    shortcuts: list[Shortcut]
    halo: Halo
    clustering: dict[str, Clustering]
    missing: Missing
    duplicates: Duplicates
    planted: Planted
    problems: Problems
    findings: list[Finding]
    filtered: Filtered
    config: dict[str, str | int | float | bool | None]
    answer: Answer | None = None

    model_config = ConfigDict(extra="forbid", frozen=True)
