"""`reward-model audit MODEL SCORED`: what a policy could gain by writing no better.

`audit(model, scored)` edits held-out responses with every probe and measures how far levels and
reward move; `.report` has the numbers, `.result` is its JSON, `.findings` are the probes that
please the model for nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reward_model.data.columns import ColumnMap
from reward_model.data.dataset import Sample, take
from reward_model.data.held_out import Wanted, choose
from reward_model.data.reading import read_samples
from reward_model.measure.probing.effects import Effect, measure
from reward_model.measure.probing.probes import PROBES, Probe, choose_probes
from reward_model.measure.probing.words import notes, say_finding
from reward_model.measure.texts import split_of
from reward_model.records import UserError
from reward_model.rubrics import Rubric
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import RESAMPLES, Bootstrap, Estimate, Floats
from reward_model.stats.metrics import Bools, mean_part
from reward_model.stats.reports import (
    AuditedTexts,
    AuditInput,
    AuditReport,
    AuditSettings,
    Changed,
    Finding,
    Probed,
)

SAMPLE = 200
"""Texts that are edited, each by every probe."""
TOLERATED = 1 / 16
"""Mean rise that is let pass, as a share of the scale: a quarter of a level on 0-4."""
REWARD = "reward"
"""Name of the last column: the weighted expected level over the scale, in [0, 1]."""
FINDINGS = ("raised", "not lowered", "unseen")
"""Verdicts that are problems."""
UNCLEAR = ("unclear",)


@dataclass(frozen=True)
class Audit:
    """What every probe did to the scores."""

    rubric: Rubric
    texts: Sequence[Sample]
    """The responses that were edited."""
    effects: dict[str, Effect]
    """Probe name -> its effect on each of them."""
    report: AuditReport

    @property
    def result(self) -> dict[str, Any]:
        """The JSON."""
        return self.report.to_json()

    @property
    def findings(self) -> list[dict[str, Any]]:
        """Probes that raise a score, or do not lower the one they should."""
        return [finding.to_json() for finding in self.report.findings]


def audit(
    model: Path,
    scored: Path,
    *,
    part: Wanted = "auto",
    columns: ColumnMap | None = None,
    probes: Sequence[str] = (),
    sample: int = SAMPLE,
    threshold: float | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    device: str | None = None,
    batch_tokens: int | None = None,
) -> Audit:
    """Probe `model` on held-out texts of `scored`.

    Args:
        model: folder of a trained model.
        scored: scored pairs or single responses; both sides of a pair are edited.
        columns: which columns hold what, for rows of another shape.
        part: which texts; see `reward_model.data.held_out`.
        probes: names of the probes; all of them if empty.
        sample: texts to edit, drawn by `seed`; 0 for all.
        threshold: mean rise in levels that is let pass; a sixteenth of the scale if not given.
        seed: of the sample, the edits and the bootstrap.
        resamples: bootstrap draws.
        device: where the model runs.
        batch_tokens: most tokens of a batch.

    Raises:
        UserError: the model does not load, a file is wrong, or there is no such probe.
    """
    from reward_model.model.folder import read_rubric

    chosen = choose_probes(probes)
    rubric = read_rubric(model)
    limit = rubric.scale * TOLERATED if threshold is None else threshold
    if not 0 <= limit < rubric.scale:
        raise UserError(f"threshold {limit}", expected=f"levels from 0 to below {rubric.scale}")
    samples, _ = read_samples(scored, rubric, columns=columns)
    held = choose(samples, split_of(model), part)
    texts = draw(held.test, sample, seed)
    scorer = RewardScorer.from_pretrained(model, device=device, batch_tokens=batch_tokens)
    effects = measure(scorer, texts, chosen, seed)
    _check_scored(effects, len(texts), model)
    bootstrap = Bootstrap([text.group for text in texts], resamples=resamples, seed=seed)
    measured = AuditReport(
        model=str(model),
        file=scored.name,
        rubric=rubric.id,
        split=AuditedTexts(
            part=held.part, texts=len(texts), groups=bootstrap.groups, of_texts=len(held.test)
        ),
        settings=_settings(scorer, limit, seed, sample, resamples),
        input=AuditInput(max_length=scorer.builder.max_length, evidence=scorer.builder.evidence),
        probes={
            probe.name: _probed(probe, effects[probe.name], rubric, texts, limit, bootstrap)
            for probe in chosen
        },
        not_asked=[probe.name for probe in PROBES if probe not in chosen],
    )
    found = measured.model_copy(
        update={"findings": _having(measured, FINDINGS), "unclear": _having(measured, UNCLEAR)}
    )
    return Audit(
        rubric, texts, effects, found.model_copy(update={"notes": held.words + notes(found)})
    )


def _check_scored(effects: Mapping[str, Effect], texts: int, model: Path) -> None:
    """A model without an opinion of anything has no change to show.

    Raises:
        UserError: it scored none of the texts.
    """
    if any(e.no_opinion for e in effects.values()) and not any(
        e.measured.any() for e in effects.values()
    ):
        raise UserError(
            f"a model that scores none of {texts} texts",
            expected="levels to see a change in",
            mend="reward-model doctor MODEL says why",
            path=model,
        )


def _settings(
    scorer: RewardScorer, limit: float, seed: int, sample: int, resamples: int
) -> AuditSettings:
    temperatures = scorer.model.config.temperatures or {}
    return AuditSettings(
        seed=seed,
        sample=sample,
        resamples=resamples,
        threshold=limit,
        reward_threshold=limit / scorer.rubric.scale,
        weights=scorer.weights,
        temperatures={name: temperatures.get(name, 1.0) for name in scorer.rubric.names},
    )


def draw(samples: Sequence[Sample], count: int, seed: int) -> Sequence[Sample]:
    """At most `count` texts by `seed` (0: all), every text once, in the order of the file."""
    first: dict[str, int] = {}
    for row, sample in enumerate(samples):
        first.setdefault(sample.text_digest, row)
    rows = list(first.values())
    if 0 < count < len(rows):
        rows = sorted(random.Random(f"{seed}:audit").sample(rows, count))
    return take(samples, rows)


def _probed(
    probe: Probe,
    effect: Effect,
    rubric: Rubric,
    texts: Sequence[Sample],
    limit: float,
    bootstrap: Bootstrap,
) -> Probed:
    """What was edited, what of it the model saw, and what it did to every column."""
    measured = effect.measured
    edited, count = len(texts) - effect.not_applicable, int(measured.sum())
    by_side: dict[str, float] = {}
    for side in sorted({text.side for text in texts}):
        rows = measured & np.array([text.side == side for text in texts])
        if rows.any():
            by_side[side] = float(effect.change[rows, -1].mean())
    columns = _columns(probe, effect, rubric, limit, bootstrap)
    return Probed(
        what=probe.what,
        expects=probe.expects(rubric.names),
        lowers=[name for name in rubric.names if name in probe.lowers],
        may_raise=[name for name in rubric.names if name in probe.may_raise],
        texts=count,
        not_applicable=effect.not_applicable,
        unseen=effect.unseen,
        share_unseen=effect.unseen / edited if edited else None,
        no_opinion=effect.no_opinion,
        share_cut=effect.cut / count if count else None,
        reward_change_by_side=by_side,
        reward=columns.pop(REWARD),
        dimensions=columns,
    )


def _columns(
    probe: Probe, effect: Effect, rubric: Rubric, limit: float, bootstrap: Bootstrap
) -> dict[str, Changed]:
    """Mean change, share of texts raised and the verdict, by dimension and for the reward."""
    measured = effect.measured
    columns: dict[str, Changed] = {}
    for column, name in enumerate((*rubric.names, REWARD)):
        tolerated = limit / rubric.scale if name == REWARD else limit
        most = 1.0 if name == REWARD else float(rubric.scale)
        values = effect.change[:, column]
        change = _mean(bootstrap, values, measured, span=(-most, most))
        raised = _mean(bootstrap, (values > tolerated).astype(float), measured, share=True)
        said = verdict(change, tolerated, name in probe.lowers, name in probe.may_raise)
        if name in probe.lowers and effect.unseen and not measured.any():
            said = "unseen"
        columns[name] = Changed(change=change, raised=raised, verdict=said)
    return columns


def _mean(
    bootstrap: Bootstrap,
    values: Floats,
    rows: Bools,
    *,
    share: bool = False,
    span: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    places = np.flatnonzero(rows)
    if not len(places):
        return Estimate(None, 0, reason="no text whose edit the model saw")
    return bootstrap.estimate(mean_part(bootstrap, values[places], places, share=share, span=span))


def verdict(change: Estimate, tolerated: float, must_lower: bool, may_raise: bool) -> str:
    """What the whole interval of a change says; `unclear` where it says neither.

    `raised` and `not lowered` (a fall of `tolerated` is ruled out) are problems, `lowered`, `held`
    and `may rise` are none.

    >>> def said(value, low, high, must_lower=False, may_raise=False):
    ...     return verdict(Estimate(value, 9, low, high), 0.25, must_lower, may_raise)
    >>> said(0.4, 0.3, 0.5), said(0.35, 0.24, 0.48), said(0.1, -0.1, 0.2)
    ('raised', 'unclear', 'held')
    >>> said(-0.3, -0.5, -0.1, must_lower=True), said(-0.02, -0.1, 0.05, must_lower=True)
    ('lowered', 'not lowered')
    >>> said(-0.2, -0.5, 0.1, must_lower=True), said(0.4, 0.3, 0.5, may_raise=True)
    ('unclear', 'may rise')
    """
    if change.low is None or change.high is None:
        return "unknown"
    if may_raise and change.high > tolerated:
        return "may rise"
    if change.low > tolerated:
        return "raised"
    if must_lower:
        if change.high < 0:
            return "lowered"
        return "not lowered" if change.low > -tolerated else "unclear"
    return "held" if change.high <= tolerated else "unclear"


def _having(report: AuditReport, verdicts: Sequence[str]) -> list[Finding]:
    """Every column with one of these verdicts, in words."""
    return [
        say_finding(name, dimension, column, report)
        for name, probe in report.probes.items()
        for dimension, column in probe.columns().items()
        if column.verdict in verdicts
    ]
