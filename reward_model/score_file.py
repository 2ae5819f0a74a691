"""`reward-model score MODEL IN --out OUT`: the same rows with a `reward_model` object, streaming.

Rows are appended in order, so a killed run goes on at the row after the last whole one, and the
finished file is the same to the last byte as if nothing had happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from reward_model.records import (
    SIDES,
    Appender,
    Line,
    Pair,
    Text,
    UserError,
    explain_os_error,
    parse_json,
    parse_record,
    read_jsonl,
    repair_tail,
    write_json,
)
from reward_model.records.terminal import console, progress

if TYPE_CHECKING:
    from reward_model.scorer import RewardScorer, Score

KEY = "reward_model"
"""The key that is added to every row (and replaced where a row already has it)."""


class _Response(BaseModel):
    """A prompt and one response to it; all other columns are the user's own and are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: Text = ""
    response: Text


class _Completion(BaseModel):
    """The same under the name that trainers give to what a policy wrote."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: Text = ""
    completion: Text


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

    def count(self, scores: Sequence[Score]) -> None:
        """Add one row's scores."""
        for score in scores:
            self.responses += 1
            self.prompts_truncated += score.prompt_truncated
            self.responses_truncated += score.response_truncated
            if score.reason is not None:
                self.no_opinion[score.reason] = self.no_opinion.get(score.reason, 0) + 1


def score_file(
    model: Path,
    texts: Path,
    out: Path,
    *,
    weights: Mapping[str, float] | None = None,
    risk: float = 0.0,
    device: str | None = None,
    batch_tokens: int | None = None,
) -> Summary:
    """Score every row of `texts`.

    Raises:
        UserError: an input row is wrong, the model does not load, or `out` holds something else.
    """
    total = check_rows(texts)
    if out.exists() and texts.exists() and out.samefile(texts):
        raise UserError("the input itself as --out", expected="another file", path=out)
    from reward_model.bundle import read_rubric

    rubric = read_rubric(model)
    config = {
        "command": "reward-model score",
        "model": model_digest(model),
        "rubric": rubric.id,
        "weights": dict(weights) if weights else dict(rubric.weights),
        "risk": risk,
    }
    done = _done(out, texts, config)
    summary = Summary(rows=total, resumed=done)
    if done == total:
        return summary
    from reward_model.scorer import RewardScorer

    scorer = RewardScorer.from_pretrained(
        model, device=device, weights=weights, risk=risk, batch_tokens=batch_tokens
    )
    note = f"going on after {done} rows" if done else ""
    with Appender(out) as file, progress() as bar:
        write_json(_config_path(out), config)
        task = bar.add_task("score", total=total, completed=done, note=note)
        for row, scores in _scored(scorer, texts, done, _block(scorer)):
            file.append(row)
            summary.count(scores)
            bar.update(task, advance=1)
    return summary


def check_rows(texts: Path) -> int:
    """Read the whole input once before anything is written; returns the number of rows.

    Raises:
        UserError: naming file and line of the first row that cannot be scored.
    """
    count = 0
    for line in read_jsonl(texts):
        row_texts(line, texts)
        count += 1
    return count


def row_texts(line: Line, path: Path) -> list[tuple[str, Text, Text]]:
    """(side, prompt, response) of every response of a row; the side of a single one is ''.

    Raises:
        UserError: the row is neither a pair nor a prompt with a response.
    """
    value = {key: kept for key, kept in line.value.items() if key != KEY}
    where: dict[str, Any] = {"path": path, "line": line.number}
    if "chosen" in value or "rejected" in value:
        pair: Pair = parse_record(Pair, value, **where)
        return [(side, pair.prompt, pair.side(side)) for side in SIDES]
    if "response" in value:
        single: _Response = parse_record(_Response, value, **where)
        return [("", single.prompt, single.response)]
    if "completion" in value:
        written: _Completion = parse_record(_Completion, value, **where)
        return [("", written.prompt, written.completion)]
    raise UserError(
        f"keys {', '.join(value) or 'none'}",
        expected="prompt with response, prompt with completion, or chosen and rejected",
        mend="rename the column that holds the text to response",
        **where,
    )


def _scored(
    scorer: RewardScorer, texts: Path, done: int, size: int
) -> Iterator[tuple[dict[str, Any], list[Score]]]:
    """Rows with their scores, from row `done` on.

    Blocks begin at multiples of `size` rows whatever was done before, so that a resumed run scores
    in the same company as an uninterrupted one and gives the same bits.
    """
    start = done - done % size
    lines = islice(read_jsonl(texts), start, None)
    while block := list(islice(lines, size)):
        parts = [row_texts(line, texts) for line in block]
        flat = [part for row in parts for part in row]
        scores = iter(scorer.score_batch([p for _, p, _ in flat], [r for _, _, r in flat]))
        for i, (line, row) in enumerate(zip(block, parts, strict=True), start):
            mine = [next(scores) for _ in row]
            if i >= done:
                yield {**line.value, KEY: _result(row, mine)}, mine
        start += len(block)


def _result(parts: list[tuple[str, Text, Text]], scores: list[Score]) -> dict[str, Any]:
    if parts[0][0] == "":
        return dict(rounded(scores[0].to_json()))
    return {side: rounded(s.to_json()) for (side, _, _), s in zip(parts, scores, strict=True)}


def rounded(value: Any) -> Any:
    """Floats to six decimals, which is more than any precision computes alike.

    >>> rounded({"reward": 0.12345678, "levels": {"depth": 3.0000001}})
    {'reward': 0.123457, 'levels': {'depth': 3.0}}
    """
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(kept) for key, kept in value.items()}
    if isinstance(value, list):
        return [rounded(kept) for kept in value]
    return value


def _block(scorer: RewardScorer) -> int:
    """Rows scored together: enough to fill batches, few enough to lose little when killed."""
    return max(32, 4 * scorer.batch_tokens // scorer.builder.max_length)


def _config_path(out: Path) -> Path:
    return out.with_name(out.name + ".config.json")


def _done(out: Path, texts: Path, config: dict[str, Any]) -> int:
    """Rows of `out` that an earlier run of this very command wrote.

    Raises:
        UserError: `out` was written by something else, or its rows are not those of the input.
    """
    try:
        if not out.exists() or (out.is_file() and out.stat().st_size == 0):
            return 0
        repair_tail(out)
    except OSError as error:
        raise explain_os_error(error, out) from None
    elsewhere = "remove it, or name another --out"
    known = _config_path(out)
    if not known.exists():
        raise UserError("a file that this command did not write", mend=elsewhere, path=out)
    before = _read_config(known)
    changed = [key for key in config if before.get(key) != config[key]]
    if changed:
        raise UserError(
            f"scores with another {', '.join(changed)}",
            expected="the same model, weights and risk, to go on",
            mend=elsewhere,
            path=out,
        )
    done = 0
    source = read_jsonl(texts)
    for written in read_jsonl(out, allow_empty=True):
        row = next(source, None)
        value = {key: kept for key, kept in written.value.items() if key != KEY}
        asked = {key: kept for key, kept in row.value.items() if key != KEY} if row else None
        if value != asked:
            raise UserError(
                "a row that is not this row of the input",
                expected=f"the rows of {texts}, in their order",
                mend=elsewhere,
                path=out,
                line=written.number,
            )
        done += 1
    return done


def _read_config(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(path.read_bytes())
    except OSError as error:
        raise explain_os_error(error, path) from None
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def model_digest(folder: Path) -> str:
    """Fingerprint of a model folder: its configuration, and both ends of its weight files."""
    found = hashlib.sha256()
    try:
        for path in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
            with path.open("rb") as file:
                found.update(f"{path.name} {path.stat().st_size}\n".encode())
                found.update(file.read(1 << 20))
                file.seek(max(0, path.stat().st_size - (1 << 20)))
                found.update(file.read())
    except OSError as error:
        raise explain_os_error(error, folder) from None
    return found.hexdigest()[:12]


def tell(summary: Summary, out: Path) -> None:
    """What was done, in a few lines."""
    screen = console()
    if summary.resumed == summary.rows:
        screen.print(f"{out} already holds all {summary.rows} rows", markup=False)
        return
    before = f" ({summary.resumed} of them before)" if summary.resumed else ""
    screen.print(f"{summary.rows} rows{before} in {out}", markup=False)
    for reason, count in summary.no_opinion.items():
        screen.print(f"{count} responses without a reward: {reason}", markup=False)
    if summary.prompts_truncated or summary.responses_truncated:
        cut, of = summary.responses_truncated, summary.responses
        screen.print(
            f"truncated: {summary.prompts_truncated} prompts, {cut} responses, of {of}",
            markup=False,
        )
