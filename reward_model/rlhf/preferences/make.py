"""`reward-model prefer [MODEL] COMPLETIONS --out PREFS`: a data set of preferences, with a card.

PREFS holds `train.jsonl`, which `datasets.load_dataset(PREFS)` gives to a trainer as it is,
`README.md` (the card), `config.json`, and the scores, so that other filters need no model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reward_model.data.columns import ColumnMap
from reward_model.records import (
    UserError,
    as_text,
    check_outputs,
    digest,
    locked,
    read_object,
    write_json,
    write_jsonl,
    write_text,
)
from reward_model.records.texts import language_of
from reward_model.rlhf.preferences.card import card
from reward_model.rlhf.preferences.index import Group, Index, read_index
from reward_model.rlhf.preferences.options import (
    CARD,
    COMMAND,
    CONFIG,
    NEUTRAL,
    OTHER_WAY,
    REPEATED,
    ROWS,
    WRITTEN,
    Counts,
    PreferOptions,
)
from reward_model.rlhf.preferences.pairs import (
    BOTH,
    Candidate,
    dpo_row,
    grpo_row,
    kto_by_threshold,
    kto_rows,
    preferences,
    usable,
)
from reward_model.rlhf.preferences.rewards import (
    SCORES_CONFIG,
    file_digest,
    judged_groups,
    kept_groups,
    scored_groups,
    stored_groups,
    stored_weights,
)
from reward_model.score.terms import parse_weights, shares


def run_prefer(
    files: Sequence[Path],
    out: Path | None,
    options: PreferOptions,
    *,
    weight: Sequence[str] = (),
    risk: float = 0.0,
    rubric: str | None = None,
    device: str | None = None,
    batch_tokens: int | None = None,
    columns: ColumnMap | None = None,
) -> dict[str, Any]:
    """Make the data set.

    Args:
        files: a model and completions, or rows that hold rewards.
        out: folder of the data set.
        options: which pairs, and for which trainer.
        weight: `DIMENSION=NUMBER` instead of the rubric's.
        risk: lambda of the reward's ``mean - lambda * sd``.
        rubric: of a judge's scores; none: what they name.
        device: of the model.
        batch_tokens: most tokens of a batch.
        columns: which columns hold the texts, where they have names of their own.

    Returns:
        What `config.json` of the folder holds; where ``["counts"]["written"]`` is 0, nothing was
        left and nothing was written.

    Raises:
        UserError: the options or the input are wrong, or `out` holds files of something else;
            nothing is written.
    """
    options.check()
    model, path = _split_files(files)
    if out is None:
        raise UserError("no --out", expected="--out PREFS, the folder of the data set")
    _check_out(out, path, model, rubric)
    weights = parse_weights(list(weight))
    for option, value in (("risk", risk), ("device", device), ("batch-tokens", batch_tokens)):
        if value and model is None:
            raise UserError(f"--{option} without a model", expected="MODEL before the file")
    if rubric and model is not None:
        raise UserError(
            "--rubric with a model, which has its own", expected="it for a judge's scores alone"
        )
    if not 0 <= risk < float("inf"):
        raise UserError(f"--risk {risk}", expected="a number from 0 up")
    with locked(out / ROWS, found="a folder that another run is writing"):
        _check_own(out)
        index = read_index(path, model=model is not None, columns=columns)
        config: dict[str, Any] = {
            "command": COMMAND,
            "input": {"name": path.name, "digest": file_digest(path)},
            "rewards_from": index.by,
            **({"columns": columns.digest} if columns else {}),
        }
        torn: set[str] = set()
        if model is not None:
            groups = _by_model(index, model, out, config, weights, risk, device, batch_tokens)
        elif index.by == "reward_model":
            if rubric:
                raise UserError(
                    "--rubric with rewards that are made already",
                    expected="it for a judge's scores alone",
                )
            groups = _by_stored(index, path, config, weights, options)
        else:
            groups = _by_judge(index, path, config, weights, rubric)
            # All levels are looked at before anything is written.
            torn = _torn(_by_judge(index, path, config, weights, rubric), index, options)
        counts = Counts(index.rows, len(index.places), index.completions)
        if index.neutral:
            counts.dropped_rows[NEUTRAL] = index.neutral
        with contextlib.suppress(_NothingLeftError):
            write_jsonl(out / ROWS, _some(_rows(groups, index, options, counts, torn)))
        result = {**config, **asdict(options), "counts": counts.to_json()}
        if counts.written:
            write_json(out / CONFIG, result)
            write_text(out / CARD, card(result))
    return result


class _NothingLeftError(Exception):
    """No row came through the filters: an empty data set is none."""


def _some(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    first = next(rows, None)
    if first is None:
        raise _NothingLeftError
    yield first
    yield from rows


def _split_files(files: Sequence[Path]) -> tuple[Path | None, Path]:
    if len(files) == 1:
        return None, files[0]
    if len(files) == 2:
        return files[0], files[1]
    raise UserError(f"{len(files)} paths", expected="[MODEL] COMPLETIONS")


def _check_out(out: Path, path: Path, model: Path | None, rubric: str | None) -> None:
    if out.suffix in {".jsonl", ".json", ".parquet"} or out.is_file():
        raise UserError(
            "a file as --out", expected="a folder: the data set goes there with its card", path=out
        )
    outputs = {f"--out with {name}": out / name for name in WRITTEN}
    check_outputs(outputs, (path, model, rubric))


def _check_own(out: Path) -> None:
    own = [_is_own(out / name) for name in (CONFIG, SCORES_CONFIG)]
    foreign = [CONFIG] if own[0] is False else []
    if not any(own):
        foreign += [name for name in (ROWS, CARD) if (out / name).exists()]
    if foreign:
        raise UserError(
            f"a {foreign[0]} that this command did not write",
            expected="a folder of its own",
            mend="name another --out",
            path=out,
        )


def _is_own(config: Path) -> bool | None:
    """Whether this command wrote a configuration; None where there is none."""
    if not config.exists():
        return None
    return (read_object(config) or {}).get("command") == COMMAND


def _by_model(
    index: Index,
    model: Path,
    out: Path,
    config: dict[str, Any],
    weights: Mapping[str, float] | None,
    risk: float,
    device: str | None,
    batch_tokens: int | None,
) -> Iterator[tuple[Group, list[Candidate]]]:
    from reward_model.model.folder import first_model_digest, model_digest, read_rubric

    rubric = read_rubric(model)
    config["model"] = {"name": model.resolve().name, "digest": model_digest(model)}
    config["rubric"] = rubric.id
    config["weights"] = shares(weights or rubric.weights, rubric.names, f"rubric {rubric.name}")
    config["risk"] = risk
    scorer = None
    depends_on = dict(config)
    first = {**config["model"], "digest": first_model_digest(model)}
    done = kept_groups(index, out, depends_on, {**depends_on, "model": first})
    if done < len(index.places):
        from reward_model.score.scorer import RewardScorer

        scorer = RewardScorer.from_pretrained(
            model, device=device, weights=weights, risk=risk, batch_tokens=batch_tokens
        )
    return scored_groups(index, scorer, out, depends_on, config["weights"], done)


def _by_stored(
    index: Index,
    path: Path,
    config: dict[str, Any],
    weights: Mapping[str, float] | None,
    options: PreferOptions,
) -> Iterator[tuple[Group, list[Candidate]]]:
    if weights:
        raise UserError(
            "--weight with rewards that are made already", expected="MODEL before the file"
        )
    config["weights"] = stored_weights(path)
    if options.z and config["weights"] is None:
        raise UserError(
            f"no {path.name}.config.json beside the file, which says how dimensions weigh",
            expected="it, as reward-model score wrote it: --z needs it",
            path=path,
        )
    return stored_groups(index, config["weights"])


def _by_judge(
    index: Index,
    path: Path,
    config: dict[str, Any],
    weights: Mapping[str, float] | None,
    name: str | None,
) -> Iterator[tuple[Group, list[Candidate]]]:
    from reward_model.data.reading import find_rubric

    known = find_rubric(path, name)
    config["rubric"] = known.id
    config["weights"] = shares(weights or known.weights, known.names, f"rubric {known.name}")
    return judged_groups(index, known, config["weights"])


def _torn(
    groups: Iterator[tuple[Group, list[Candidate]]], index: Index, options: PreferOptions
) -> set[str]:
    """Rows of KTO that get both labels: different pairs of a judge may share a completion."""
    labels: dict[str, set[bool]] = {}
    for group, candidates in groups:
        if options.to == "kto":
            for row in _of_prompt(group, candidates, index, options, Counts()):
                labels.setdefault(_unlabelled(row), set()).add(row["label"])
    return {mark for mark, found in labels.items() if len(found) > 1}


def _unlabelled(row: Mapping[str, Any]) -> str:
    return digest({"prompt": row["prompt"], "completion": row["completion"]}, 24)


def _rows(
    groups: Iterator[tuple[Group, list[Candidate]]],
    index: Index,
    options: PreferOptions,
    counts: Counts,
    torn: set[str],
) -> Iterator[dict[str, Any]]:
    """The rows of the data set, each once and with one label."""
    seen: set[str] = set()
    margins = 0.0
    for group, candidates in groups:
        for row in _of_prompt(group, candidates, index, options, counts):
            if torn and (both := _unlabelled(row)) in torn:
                counts.dropped_completions[BOTH] += both not in seen
                seen.add(both)
                continue
            mark = digest({key: kept for key, kept in row.items() if key != "margin"}, 24)
            if mark in seen:
                counts.dropped_rows[REPEATED] += 1
                continue
            seen.add(mark)
            counts.written += 1
            counts.languages[language_of(as_text(group.prompt) or str(row))] += 1
            if "label" in row:
                counts.desirable = (counts.desirable or 0) + row["label"]
            if "margin" in row:
                margins += row["margin"]
                counts.mean_margin = round(margins / counts.written, 6)
            yield row


def _of_prompt(
    group: Group, candidates: list[Candidate], index: Index, options: PreferOptions, counts: Counts
) -> list[dict[str, Any]]:
    kept, dropped = usable(candidates)
    counts.dropped_completions.update(dropped)
    chat = index.chat
    if options.to == "kto" and options.threshold is not None:
        rows, dropped = kto_by_threshold(
            group.prompt, kept, options.threshold, options.filters, chat=chat
        )
        counts.dropped_completions.update(dropped)
        return rows
    if options.to == "grpo" and not (options.min_margin or options.z):
        return [grpo_row(group.prompt, chat=chat)]
    if index.by == "scores" and len(kept) == 2 and _worse(kept[0], kept[1]):
        counts.dropped_pairs[OTHER_WAY] += 1
        return []
    pairs, dropped = preferences(
        kept, options.how, options.filters, seed=f"{options.seed}:{group.key}"
    )
    counts.dropped_pairs.update(dropped)
    if options.to == "grpo":
        # Completions that score alike teach such a trainer nothing.
        return [grpo_row(group.prompt, chat=chat)] if pairs else []
    if options.to == "kto":
        rows, dropped = kto_rows(group.prompt, pairs, chat=chat)
        counts.dropped_completions.update(dropped)
        return rows
    return [dpo_row(group.prompt, pair, chat=chat) for pair in pairs]


def _worse(chosen: Candidate, rejected: Candidate) -> bool:
    return (chosen.reward or 0.0) < (rejected.reward or 0.0)
