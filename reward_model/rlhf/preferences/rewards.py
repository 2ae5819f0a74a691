"""Rewards of completions for `reward-model prefer`: from a model, from scored rows, from a judge.

`scored_groups(...)` runs the model and keeps every score in `scores.jsonl`, so that a run that was
stopped goes on, and other filters need no model; the other two read what the rows hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_model.records import (
    SIDES,
    Appender,
    Side,
    Text,
    UserError,
    explain_os_error,
    read_jsonl,
    read_object,
    repair_tail,
    write_json,
)
from reward_model.records.terminal import progress
from reward_model.rlhf.preferences.index import Group, Index, texts_of
from reward_model.rlhf.preferences.pairs import Candidate, reward_sd
from reward_model.rubrics import Rubric
from reward_model.stats.levels import reward_of

if TYPE_CHECKING:
    from reward_model.score.scorer import RewardScorer

SCORES = "scores.jsonl"
SCORES_CONFIG = f"{SCORES}.config.json"
UNJUDGED = "a level is missing"


def scored_groups(
    index: Index,
    scorer: RewardScorer | None,
    folder: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, float],
    done: int,
) -> Iterator[tuple[Group, list[Candidate]]]:
    """Prompts with the rewards of their completions, in the order of the file.

    Args:
        index: of the file.
        scorer: of the model; None where `scores.jsonl` already holds everything.
        folder: where scores are kept.
        config: what the kept scores depend on.
        weights: of the dimensions, for the uncertainty of the reward.
        done: prompts that `kept_groups` found.
    """
    kept = folder / SCORES
    stored = islice(read_jsonl(kept, allow_empty=True) if done else (), done)
    if scorer is None:
        for group, written in zip(index.groups(), stored, strict=True):
            yield group, _candidates(group, written.value["scores"], weights)
        return
    total = len(index.places)
    with Appender(kept) as file, progress() as bar:
        write_json(folder / SCORES_CONFIG, dict(config))
        note = f"going on after {done} prompts" if done else ""
        task = bar.add_task("score", total=total, completed=done, note=note)
        size = max(32, 4 * scorer.batch_tokens // scorer.builder.max_length)
        # A block of which some is kept is scored again as a whole: what is scored together moves
        # the last digit, and the file is to be that of a run that was never stopped.
        for block in _blocks(index.groups(), size):
            before = [written.value["scores"] for written in islice(stored, len(block))]
            scores = iter(_rows(scorer, block) if len(before) < len(block) else ())
            for i, group in enumerate(block):
                mine = list(islice(scores, len(group.completions)))
                if i < len(before):
                    yield group, _candidates(group, before[i], weights)
                    continue
                file.append({"prompt": group.key, "scores": mine})
                yield group, _candidates(group, mine, weights)
                bar.update(task, advance=1)


def _candidates(
    group: Group, scores: Sequence[Mapping[str, Any]], weights: Mapping[str, float]
) -> list[Candidate]:
    return [_stored(t, s, weights) for t, s in zip(group.completions, scores, strict=True)]


def kept_groups(
    index: Index, folder: Path, config: Mapping[str, Any], earlier: Mapping[str, Any] | None = None
) -> int:
    """Prompts whose scores an earlier run of the same model on the same file kept.

    Args:
        index: of the file.
        folder: of the preference data.
        config: what scores depend on.
        earlier: the same as 0.1.0 wrote it.

    Raises:
        UserError: scores of another model, file, weights or risk.
    """
    kept, known = folder / SCORES, folder / SCORES_CONFIG
    try:
        if not kept.exists() or kept.stat().st_size == 0:
            return 0
    except OSError as error:
        raise explain_os_error(error, kept) from None
    before = read_object(known)
    if before not in (dict(config), earlier):
        changed = [name for name in config if (before or {}).get(name) != config[name]]
        raise UserError(
            f"scores with another {', '.join(changed) or 'configuration'}"
            if before
            else "scores that this command did not write",
            expected="those of the same model, file, weights and risk, to go on",
            mend="remove them, or name another --out",
            path=kept,
        )
    order = iter(index.places)
    done = 0
    for row in read_jsonl(kept, allow_empty=True, torn=True):
        if row.value.get("prompt") != next(order, None):
            raise UserError(
                "scores of another prompt than the file has here",
                expected="its prompts in their order",
                mend="remove them, or name another --out",
                path=kept,
                line=row.number,
            )
        done += 1
    try:
        repair_tail(kept)  # now that every row before it is known to be ours
    except OSError as error:
        raise explain_os_error(error, kept) from None
    return done


def _blocks(groups: Iterator[Group], size: int) -> Iterator[list[Group]]:
    """Whole prompts, together at least `size` completions: enough to fill batches."""
    block: list[Group] = []
    count = 0
    for group in groups:
        block.append(group)
        count += len(group.completions)
        if count >= size:
            yield block
            block, count = [], 0
    if block:
        yield block


def _rows(scorer: RewardScorer, block: list[Group]) -> list[dict[str, Any]]:
    from reward_model.score.files.rows import rounded

    prompts, texts = texts_of(block)
    return [rounded(score.to_json()) for score in scorer.score_batch(prompts, texts)]


def stored_groups(
    index: Index, weights: Mapping[str, float] | None
) -> Iterator[tuple[Group, list[Candidate]]]:
    """The same from rows that `reward-model score` wrote.

    Args:
        index: of the file.
        weights: of the dimensions, where they are known: for the uncertainty of the reward.
    """
    for group in index.groups():
        stored = [known for row in group.rows for known in row.known]
        yield group, _candidates(group, stored, weights or {})


def _stored(text: Text, score: Mapping[str, Any], weights: Mapping[str, float]) -> Candidate:
    reward = score.get("uncentered", score["reward"])
    if reward is None:
        return Candidate(text, None, reason=str(score.get("reason") or "no reward"))
    spread = score.get("uncertainty") or {}
    levels: list[float] = next(iter((score.get("probabilities") or {}).values()), [])
    known = bool(weights) and set(weights) <= set(spread) and len(levels) > 1
    return Candidate(
        text,
        round(float(reward), 6),
        reward_sd(spread, weights, len(levels) - 1) if known else None,
    )


def stored_weights(path: Path) -> dict[str, float] | None:
    """Weights that the rewards of a scored file were made with, from the file beside it."""
    config = read_object(path.with_name(path.name + ".config.json")) or {}
    try:
        weights = {str(k): float(v) for k, v in config["weights"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    total = sum(weights.values())
    return {name: share / total for name, share in weights.items()} if total > 0 else None


def judged_groups(
    index: Index, rubric: Rubric, weights: Mapping[str, float]
) -> Iterator[tuple[Group, list[Candidate]]]:
    """Chosen and rejected side, in this order, or the answers to a prompt, with the weighted level
    that the judge gave.

    Raises:
        UserError: levels that are not of the rubric.
    """
    for group in index.groups():
        if index.by == "answers":
            yield group, _answers(index, group, rubric, weights)
            continue
        (row,) = group.rows
        # As read_index saw to.
        assert row.pair is not None
        assert row.scores is not None
        number = index.places[group.key][0][0]
        found = []
        for side in SIDES:
            levels = row.scores.side(side)
            rubric.check_levels(
                levels, where=f"scores.{side}", path=index.source.shown, line=number
            )
            found.append(
                _judged(row.pair.side(side), levels, _spread(row.scores, side), weights, rubric)
            )
        yield group, found


def _answers(
    index: Index, group: Group, rubric: Rubric, weights: Mapping[str, float]
) -> list[Candidate]:
    found = []
    for row, (number, _) in zip(group.rows, index.places[group.key], strict=True):
        for text, levels, spread in zip(row.completions, row.levels, row.spreads, strict=True):
            rubric.check_levels(levels, where="scores", path=index.source.shown, line=number)
            known = spread if isinstance(spread, dict) else None
            found.append(_judged(text, levels, known, weights, rubric))
    return found


def _spread(scores: Any, side: Side) -> Mapping[str, float] | None:
    by_side = scores.judge.spread if scores.judge else None
    return by_side.get(side) if by_side else None


def _judged(
    text: Text,
    levels: Mapping[str, int | None],
    spread: Mapping[str, float] | None,
    weights: Mapping[str, float],
    rubric: Rubric,
) -> Candidate:
    there = {name: level for name in weights if (level := levels.get(name)) is not None}
    if len(there) < len(weights):
        # A mean of what is left would compare one dimension of a side with another of the other.
        return Candidate(text, None, reason=UNJUDGED)
    given = np.array([there[name] for name in weights], dtype=np.float64)
    reward = float(reward_of(given, list(weights.values()), rubric.scale))
    known = spread is not None and set(weights) <= set(spread)
    sd = reward_sd(spread, weights, rubric.scale) if known and spread is not None else None
    return Candidate(text, round(reward, 6), sd)


def file_digest(path: Path) -> str:
    """Fingerprint of the whole content of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError as error:
        raise explain_os_error(error, path) from None
