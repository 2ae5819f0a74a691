"""`reward-model evaluate MODEL PAIRS` on pairs without levels: how often the better response wins.

`has_no_levels(pairs)` tells such a file from labelled texts; `evaluate_preferences(model, pairs)`
gives the share for the reward and for each dimension, over all pairs and by subset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reward_model.data.columns import ColumnMap
from reward_model.data.formats import rubric_of
from reward_model.data.held_out import Wanted
from reward_model.data.preferred import preferred, subset_of
from reward_model.data.sources import RowSource, find_source
from reward_model.measure.evaluation.answer import answer_preferences
from reward_model.measure.texts import input_of, score_texts, split_of
from reward_model.records import Text, UserError, as_text, read_jsonl
from reward_model.records.forms import two_sides
from reward_model.records.rows import Row
from reward_model.records.tables import without_null
from reward_model.score.scorer import RewardScorer, Score
from reward_model.stats.bootstrap import RESAMPLES, Bootstrap, Floats, Ints
from reward_model.stats.evaluated import (
    EvaluationSettings,
    PreferenceMetrics,
    PreferenceReport,
    PreferredPairs,
)
from reward_model.stats.metrics import mean_part

NO_LEVELS = "the pairs carry no levels, so nothing is said of levels, calibration or baselines"
_FEW = 6
_MOST = 50
"""Subsets; of more there is a number for all together alone."""


@dataclass(frozen=True)
class _Asked:
    """A response to be scored."""

    prompt: Text
    response: Text


def has_no_levels(path: Path, columns: ColumnMap | None = None) -> bool:
    """Whether a file holds pairs of responses alone, and no level of any of them.

    Raises:
        UserError: the file cannot be read.
    """
    if columns is not None and columns.has_levels:
        return False
    there = False
    for row, _ in _rows(path, columns):
        two = {"chosen", "rejected"} <= set(row) or two_sides(row) is not None
        scores = row.get("scores")
        levels = isinstance(scores, Mapping) and any(map(bool, scores.values()))
        if not two or levels or rubric_of(row) is not None:
            return False
        there = True
    return there


def evaluate_preferences(
    model: Path,
    pairs: Path,
    *,
    part: Wanted = "auto",
    columns: ColumnMap | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    device: str | None = None,
    batch_tokens: int | None = None,
) -> PreferenceReport:
    """Measure `model` on pairs of which it is known which response people preferred.

    Args:
        model: folder of a trained model.
        pairs: rows with chosen and rejected, or two responses and a preference.
        part: `auto` leaves out groups that the model was trained on, `test` and `validation` keep
            to those of its split, `all` keeps all.
        columns: which columns hold what, for rows of another shape.
        seed: of the bootstrap.
        resamples: bootstrap draws.
        device: where the model runs.
        batch_tokens: most tokens of a batch.

    Raises:
        UserError: the model does not load, a row that is no preference, or no pair left.
    """
    from reward_model.model.folder import read_rubric

    rubric = read_rubric(model)
    rows, subsets, left = _read(model, pairs, part, columns)
    told = [i for i, row in enumerate(rows) if not row.tied]
    scorer = RewardScorer.from_pretrained(model, device=device, batch_tokens=batch_tokens)
    texts = [_Asked(rows[i].prompt, text) for i in told for text in rows[i].completions]
    scores = score_texts(scorer, texts)
    values = _values(scores, scorer)
    seen = np.flatnonzero(np.isfinite(values[0::2, 0] + values[1::2, 0]))
    groups = [rows[i].group for i in told]
    bootstrap = Bootstrap(groups, resamples=resamples, seed=seed)
    gaps = values[0::2] - values[1::2]
    both = [rows[i].completions for i in told]
    longer = np.array([float(len(as_text(a)) > len(as_text(b))) for a, b in both])
    where = np.array([subsets[i] for i in told])
    named = sorted(set(where.tolist()))
    names = rubric.names
    found = _metrics(bootstrap, gaps, seen, groups, names)
    parts = {
        name: _metrics(bootstrap, gaps, seen[where[seen] == name], groups, names)
        for name in (named if 1 < len(named) <= _MOST else [])
    }
    silent = len(told) - len(seen)
    report = PreferenceReport(
        model=str(model),
        file=pairs.name,
        rubric=rubric.id,
        pairs=PreferredPairs(
            part=part,
            read=len(rows) + left,
            measured=len(seen),
            groups=len({groups[i] for i in seen}),
            tied=len(rows) - len(told),
            no_opinion=silent,
            trained_on=left,
        ),
        settings=EvaluationSettings(seed=seed, resamples=resamples, weights=dict(rubric.weights)),
        input=input_of(scores, scorer),
        metrics=found,
        longer_wins=bootstrap.estimate(
            mean_part(bootstrap, longer[seen], seen, _none(seen), share=True)
        ),
        subsets=parts,
        notes=_notes(found, len(named), len(rows) - len(told), silent, left, part),
    )
    return report.model_copy(update={"answer": answer_preferences(report, pairs)})


def _rows(path: Path, columns: ColumnMap | None) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every row with its texts under known names, and where it stands, for messages."""
    source: RowSource = (
        find_source(path)
        if columns is None
        else find_source(path, config=columns.config, split=columns.split)
    )
    for line in read_jsonl(source.path):
        where = {"path": source.shown, "line": line.number}
        row = without_null(line.value) if source.converted else line.value
        yield (columns.named(row, where) if columns else row), where


def _read(
    model: Path, path: Path, part: Wanted, columns: ColumnMap | None
) -> tuple[list[Row], list[str], int]:
    """Pairs to measure, the subset of each, and how many of other groups were left out."""
    split = split_of(model)
    if split is None and part in ("test", "validation"):
        raise UserError(
            "a model without split.json",
            expected=f"the split that --split {part} selects from",
            mend="measure on pairs it was not trained on, with --split all",
            path=model,
        )
    wanted = set(split.groups[part]) if split and part in ("test", "validation") else None
    never = set(split.groups["train"]) if split and part == "auto" else set()
    rows: list[Row] = []
    subsets: list[str] = []
    left = 0
    for value, where in _rows(path, columns):
        row = preferred(value, **where)
        if row.group in never or (wanted is not None and row.group not in wanted):
            left += 1
            continue
        rows.append(row)
        subsets.append(subset_of(value, row))
    if all(row.tied for row in rows):
        raise UserError(
            f"no pair to measure on ({left} of groups left out, {len(rows)} without a preference)",
            expected="pairs of which one response is better",
            mend="--split all measures pairs of every group",
            path=path,
        )
    return rows, subsets, left


def _values(scores: Sequence[Score], scorer: RewardScorer) -> Floats:
    """[n, 1 + D]: the reward and each expected level; NaN where there is no opinion."""
    names = scorer.dimensions
    out = np.full((len(scores), 1 + len(names)), np.nan)
    for i, score in enumerate(scores):
        if score.reward is not None:
            out[i] = [score.reward, *(score.levels[name] for name in names)]
    return out


def _metrics(
    bootstrap: Bootstrap, gaps: Floats, rows: Ints, groups: Sequence[str], names: Sequence[str]
) -> PreferenceMetrics:
    def share(right: Any) -> Any:
        return bootstrap.estimate(mean_part(bootstrap, right * 1.0, rows, _none(rows), share=True))

    own = gaps[rows]
    return PreferenceMetrics(
        pairs=len(rows),
        groups=len({groups[i] for i in rows}),
        pair_accuracy=share(own[:, 0] > 0),
        pair_ties=share(own[:, 0] == 0),
        dimensions={
            name: {"pair_accuracy": share(own[:, j] > 0), "pair_ties": share(own[:, j] == 0)}
            for j, name in enumerate(names, 1)
        },
    )


def _none(rows: Ints) -> str | None:
    return None if len(rows) else "no pairs"


def _notes(
    found: PreferenceMetrics, subsets: int, tied: int, silent: int, left: int, part: Wanted
) -> list[str]:
    words = [NO_LEVELS]
    if tied:
        words.append(f"{tied} pairs without a preference (ties, controls) were left out")
    if silent:
        words.append(f"{silent} pairs with a response that has no score were left out")
    if left:
        what = "the model was trained on" if part == "auto" else f"are not of the {part} groups"
        words.append(f"{left} pairs of groups that {what} were left out")
    if found.groups < _FEW:
        words.append(f"{found.groups} groups are too few to tell much: the intervals are wide")
    ties = found.pair_ties.value
    if ties:
        words.append(f"{ties:.1%} of the pairs got one and the same reward, which counts as wrong")
    if subsets > _MOST:
        words.append(f"{subsets} subsets are too many to list; all pairs are measured together")
    low = found.pair_accuracy.low
    if low is not None and low <= 0.5:
        words.append("the interval of the reward's accuracy holds 0.5, which is what guessing gets")
    return words


__all__ = ["NO_LEVELS", "evaluate_preferences", "has_no_levels"]
