"""`reward-model score MODEL IN --out OUT`: the same rows with a `reward_model` object, streaming.

Scores are appended in order, so a killed run goes on at the row after the last whole one, and the
finished file is the same to the last byte as if nothing had happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_model.model.folder import first_model_digest, model_digest
from reward_model.model.scale import read_scale
from reward_model.records import (
    Appender,
    Line,
    UserError,
    check_outputs,
    locked,
    read_jsonl,
    read_object,
    repair_tail,
    write_json,
)
from reward_model.records.rows import KEY, unscored
from reward_model.records.tables import is_parquet, read_rows
from reward_model.records.terminal import progress
from reward_model.score.files.rows import (
    Part,
    fingerprint,
    is_result,
    result,
    row_texts,
)
from reward_model.score.files.workers import Models, scored_blocks

if TYPE_CHECKING:
    import pyarrow

    from reward_model.data.columns import ColumnMap
    from reward_model.rubrics import Rubric
    from reward_model.score.scorer import Score

BLOCK = {"cpu": 32, "cuda": 256}
"""Rows scored together: enough to fill batches, few enough to lose little when killed."""


@dataclass
class Summary:
    """What a run did, for the terminal and `--json`."""

    rows: int = 0
    """Rows in the finished file."""
    resumed: int = 0
    """Rows an earlier run had already written."""
    responses: int = 0
    """Responses scored in this run."""
    no_opinion: dict[str, int] = field(default_factory=dict)
    """Reason -> responses without a reward, in this run."""
    prompts_truncated: int = 0
    responses_truncated: int = 0
    computed_on: list[str] = field(default_factory=list)
    """Devices and precisions of all rows in the file, those of earlier runs first."""

    def count(self, scores: Sequence[Score]) -> None:
        """Add one row's scores."""
        for score in scores:
            self.responses += 1
            self.prompts_truncated += score.prompt_truncated
            self.responses_truncated += score.response_truncated
            if score.reason is not None:
                self.no_opinion[score.reason] = self.no_opinion.get(score.reason, 0) + 1


@dataclass(frozen=True)
class Contents:
    """What the input holds, known before anything is scored."""

    rows: int
    sides: frozenset[str | None]
    """Sides that its rows have; empty for a single response, None for a list."""
    digest: str
    """Of all rows, scores of ours left out."""


def score_file(
    model: Path | Sequence[Path],
    texts: Path,
    out: Path,
    *,
    how: str = "mean",
    weights: Mapping[str, float] | None = None,
    risk: float = 0.0,
    device: str | None = None,
    batch_tokens: int | None = None,
    num_workers: int = 1,
    columns: ColumnMap | None = None,
    abstain: float | None = None,
    centered: bool = False,
) -> Summary:
    """Score every row of `texts`.

    Args:
        model: folder of a trained model, or several for an ensemble.
        texts: JSON Lines, Parquet or CSV.
        out: where the rows go; Parquet where the name ends so, else JSON Lines.
        how: how an ensemble joins its members, `mean` or `minimum`.
        weights: dimension -> share in the reward instead of the rubric's.
        risk: lambda of the reward's ``mean - lambda * sd``.
        device: ``cuda``, ``mps`` or ``cpu``; the best there is if not given.
        batch_tokens: most tokens of a batch.
        num_workers: processes; on GPUs, one a device.
        columns: which columns hold the texts, where they have names of their own.
        abstain: no opinion on texts whose familiarity is below it.
        centered: see `RewardScorer.from_pretrained`.

    Raises:
        UserError: an input row is wrong, the model does not load, `out` holds something else, or
            another run is writing it.
        Stopped: a worker was ended from outside.
    """
    from reward_model.model.device import best_dtype, checked_device

    where = checked_device(device)
    paths = (model,) if isinstance(model, Path) else tuple(model)
    journal = out.with_name(out.name + ".scores.jsonl") if is_parquet(out) else out
    outputs = {"--out": out, "--out with .config.json": _config_path(out)}
    if journal != out:
        outputs["--out with .scores.jsonl"] = journal
    check_outputs(outputs, (texts, *paths))
    contents = check_rows(texts, columns)
    rubric = _rubric(paths)
    config: dict[str, Any] = {
        "command": "reward-model score",
        "model": _members([model_digest(path) for path in paths], how),
        "rubric": rubric.id,
        "weights": dict(weights) if weights else dict(rubric.weights),
        "risk": risk,
        "abstain": abstain,
    }
    if columns is not None:
        config["columns"] = columns.digest
    if centered:
        config["centered"] = read_scale(paths, how).told()
    shares = dict(weights) if weights else None
    models = Models(paths, how, shares, risk, device, batch_tokens, abstain, centered)
    table = None
    if is_parquet(out):
        table = _columns(texts, contents, rubric, models)
        config["input"] = contents.digest
    with locked(out):
        first = _members([first_model_digest(path) for path in paths], how)
        done = _done(out, journal, texts, config, contents.rows, first)
        summary = Summary(rows=contents.rows, resumed=done)
        kept = (read_object(_config_path(out)) if done else None) or {}
        summary.computed_on = kept.get("computed_on", [])
        if done < contents.rows:
            here = f"{where.type}, {best_dtype(where)}".replace("torch.", "")
            summary.computed_on = list(dict.fromkeys([*summary.computed_on, here]))
            config["computed_on"] = summary.computed_on
            _score_rest(models, (texts, columns), journal, out, config, summary, num_workers)
        if table and _size(journal):
            from reward_model.score.files.parquet import write_scored

            with closing(read_jsonl(journal)) as lines:  # an open file cannot go everywhere
                write_scored(texts, out, table, (line.value[KEY] for line in lines))
            journal.unlink()
    return summary


def _score_rest(
    models: Models,
    texts: tuple[Path, ColumnMap | None],
    journal: Path,
    out: Path,
    config: dict[str, Any],
    summary: Summary,
    workers: int,
) -> None:
    done = summary.resumed
    note = f"going on after {done} rows" if done else ""
    rows = _scored(models, texts, done, workers)
    with progress() as bar:
        task = bar.add_task("score", total=summary.rows, completed=done, note=note)
        first = next(rows)  # a model that does not load leaves nothing behind
        write_json(_config_path(out), config)
        with Appender(journal) as file:
            for line, parts, scores in chain([first], rows):
                own = unscored(line.value) if journal == out else {"row": fingerprint(line.value)}
                file.append({**own, KEY: result(parts, scores)})
                summary.count(scores)
                bar.update(task, advance=1)


def check_rows(texts: Path, columns: ColumnMap | None = None) -> Contents:
    """Read the whole input once before anything is written.

    Raises:
        UserError: naming file and line of the first row that cannot be scored.
    """
    count, all_rows = 0, hashlib.sha256()
    sides: set[str | None] = set()
    for line in read_rows(texts):
        if line.value.get(KEY) is not None and not is_result(line.value[KEY]):
            raise UserError(
                f"a column {KEY} that score did not write",
                expected="none of that name: the scores stand under it",
                mend=f"rename it, such as to given_{KEY}",
                path=texts,
                line=line.number,
            )
        sides.update(part.side for part in row_texts(line, texts, columns))
        try:
            all_rows.update(fingerprint(line.value).encode())
        except UnicodeEncodeError:
            raise UserError(
                "half of a character (a lone surrogate such as \\ud800)",
                expected="valid Unicode",
                path=texts,
                line=line.number,
            ) from None
        except ValueError:
            raise UserError(
                "a number too large for any program to read (such as 1e999)",
                expected="finite numbers",
                path=texts,
                line=line.number,
            ) from None
        count += 1
    return Contents(count, frozenset(sides), all_rows.hexdigest()[:24])


def _rubric(paths: Sequence[Path]) -> Rubric:
    from reward_model.model.folder import read_rubric

    first, *others = (read_rubric(path) for path in paths)
    for path, other in zip(paths[1:], others, strict=True):
        if other.id != first.id:
            raise UserError(
                f"a model of another rubric ({other.id})",
                expected=f"{first.id}, as {paths[0]} has",
                path=path,
            )
    return first


def _columns(texts: Path, contents: Contents, rubric: Rubric, models: Models) -> pyarrow.Schema:
    from reward_model.score.files.parquet import schema_for, score_type

    scores = score_type(
        rubric.names,
        contents.sides,
        ensemble=len(models.paths) > 1,
        familiar=models.familiar,
        centered=models.centered,
    )
    return schema_for(texts, scores)


def _scored(
    models: Models, texts: tuple[Path, ColumnMap | None], done: int, workers: int
) -> Iterator[tuple[Line, list[Part], list[Score]]]:
    """Rows with their scores, from row `done` on.

    Blocks begin at multiples of their size whatever was done before, so that a resumed run scores
    in the same company as an uninterrupted one and gives the same bits.
    """
    size = _block(models.device)
    start = done - done % size
    kept, sent = tee(_blocks(*texts, start, size))
    flat = (
        ([p.prompt for _, row in block for p in row], [p.response for _, row in block for p in row])
        for block in sent
    )
    for block, found in zip(kept, scored_blocks(models, flat, workers), strict=True):
        scores = iter(found)
        for i, (line, parts) in enumerate(block, start):
            mine = [next(scores) for _ in parts]
            if i >= done:
                yield line, parts, mine
        start += len(block)


def _blocks(
    texts: Path, columns: ColumnMap | None, start: int, size: int
) -> Iterator[list[tuple[Line, list[Part]]]]:
    lines = islice(read_rows(texts), start, None)
    while block := [(line, row_texts(line, texts, columns)) for line in islice(lines, size)]:
        yield block


def _block(device: str | None) -> int:
    from reward_model.model.device import checked_device

    return BLOCK.get(checked_device(device).type, BLOCK["cuda"])


def _config_path(out: Path) -> Path:
    return out.with_name(out.name + ".config.json")


def _members(digests: list[str], how: str) -> Any:
    return digests[0] if len(digests) == 1 else {"members": digests, "how": how}


def _done(
    out: Path, journal: Path, texts: Path, config: dict[str, Any], total: int, first: Any
) -> int:
    """Rows that an earlier run of this very command scored.

    Raises:
        UserError: `out` was written by something else, or its rows are not those of the input.
    """
    begun = _size(journal) > 0
    finished = journal != out and out.exists() and not begun
    if not begun and not finished:
        return 0
    elsewhere = "remove it, or name another --out"
    if not _config_path(out).exists():
        raise UserError("a file that this command did not write", mend=elsewhere, path=out)
    before = read_object(_config_path(out)) or {}
    if before.get("model") == first:
        before["model"] = config["model"]
    # What the rows of an unfinished file are is looked at one by one.
    changed = [
        key for key in config if before.get(key) != config[key] and (finished or key != "input")
    ]
    if changed:
        raise UserError(
            f"scores with another {', '.join(changed)}",
            expected="the same model, weights, risk and abstain, to go on",
            mend=elsewhere,
            path=journal if begun else out,
        )
    if finished:
        return total
    done = 0
    source = read_rows(texts)
    for written in read_jsonl(journal, allow_empty=True, torn=True):
        row = next(source, None)
        if journal == out:
            same = row is not None and unscored(written.value) == unscored(row.value)
        else:
            same = row is not None and written.value.get("row") == fingerprint(row.value)
        if not same:
            raise UserError(
                "a row that is not this row of the input",
                expected=f"the rows of {texts}, in their order",
                mend=elsewhere,
                path=journal,
                line=written.number,
            )
        done += 1
    repair_tail(journal)  # now that every row before it is known to be ours
    return done


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
