"""What a run is measured on: the groups its training kept for a test, or a file that was named.

`held_out(place, wanted)` gives pairs and prompts; `trained(place)` what the trainer's state says.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

from reward_model.data.split import read_split
from reward_model.policy.base import RUN, Place
from reward_model.policy.rows import PolicyRow, read_rows
from reward_model.policy.settings import METHODS
from reward_model.policy.split import part_of
from reward_model.records import UserError, as_text, read_object


class Wanted(NamedTuple):
    """What is asked of the rows."""

    data: str | None
    """A file; None: the run's own, its test groups."""
    prompts: str | None
    max_rows: int | None
    max_samples: int
    """Most prompts."""
    seed: int


def held_out(place: Place, wanted: Wanted) -> tuple[list[PolicyRow], list[PolicyRow]]:
    """Held-out rows with answers, and the prompts that are asked, each once.

    Raises:
        UserError: nothing to measure on, or a file that is not what the run was trained on.
    """
    rows: list[PolicyRow] = []
    asked: list[PolicyRow] = []
    if wanted.data is not None:
        rows = _answered(wanted.data, wanted.max_rows, wanted.seed)
    elif place.run is not None:
        rows, asked = _of_run(place.run, place.name)
    elif wanted.prompts is None:
        raise UserError(
            f"nothing to measure {place.name} on",
            expected="--data with held-out pairs, or --prompts",
        )
    if wanted.prompts is not None:
        asked = read_rows(wanted.prompts, "prompts").rows
    elif rows:
        asked = rows
    asked = list({as_text(row.prompt): row for row in asked}.values())
    if len(asked) > wanted.max_samples:
        asked = random.Random(f"prompts:{wanted.seed}").sample(asked, wanted.max_samples)
    return rows, asked


def _of_run(run: Path, name: str) -> tuple[list[PolicyRow], list[PolicyRow]]:
    """Rows of a run's test groups: pairs where the file has any, and its prompts."""
    kept = read_object(run / RUN) or {}
    settings = kept.get("settings") or {}
    data, split = str(kept.get("data") or ""), read_split(run)
    kind = METHODS[settings.get("method", "dpo")].kind
    read = read_rows(data, kind, max_rows=settings.get("max_rows"), seed=settings.get("seed", 0))
    if split.data != read.data:
        raise UserError(
            "other rows than the run was trained on",
            expected="the file as it was, whose held-out groups are known",
            mend="name a file of held-out pairs with --data",
            path=data,
        )
    found = part_of(read.rows, split, "test")
    if not found:
        raise UserError(
            f"no group of {name} kept for a test",
            expected="held-out rows",
            mend="name a file with --data",
        )
    if kind == "pairs":
        return found, found
    # What trained on one side, or on prompts, can be measured on both where the file has both.
    try:
        return part_of(_answered(data, None, 0), split, "test"), found
    except UserError:
        return ([] if kind == "prompts" else found), found


def _answered(data: str, max_rows: int | None, seed: int) -> list[PolicyRow]:
    """Pairs, or where the file has none single answers."""
    try:
        return read_rows(data, "pairs", max_rows=max_rows, seed=seed).rows
    except UserError as error:
        try:
            return read_rows(data, "answers", max_rows=max_rows, seed=seed).rows
        except UserError:
            raise error from None


def instruction_of(place: Place) -> str | None:
    """What rows without a prompt answered when a run was trained."""
    kept = (read_object(place.run / RUN) or {}) if place.run is not None else {}
    found = (kept.get("settings") or {}).get("instruction")
    return None if found is None else str(found)


def trained(place: Place) -> dict[str, Any]:
    """What the trainer's own state says."""
    folders = [f for f in (place.run, Path(place.base)) if f is not None and f.is_dir()]
    for folder in folders:
        found = [folder / "trainer_state.json", *sorted(
            folder.glob("**/checkpoint-*/trainer_state.json"),
            key=lambda p: int(p.parent.name.rpartition("-")[2] or 0) if p.parent.name[-1].isdigit()
            else 0, reverse=True)]  # fmt: skip
        state = next((s for s in map(read_object, found) if s is not None), None)
        if state is None:
            continue
        history = [log for log in state.get("log_history", []) if isinstance(log, dict)]
        losses = [log["loss"] for log in history if log.get("loss") is not None]
        looked = [log["eval_loss"] for log in history if log.get("eval_loss") is not None]
        times = [log["train_runtime"] for log in history if log.get("train_runtime") is not None]
        seconds = float(sum(times)) if times else None
        return {
            "initial_train_loss": losses[0] if losses else None,
            "final_train_loss": losses[-1] if losses else None,
            "best_eval_loss": min(looked) if looked else None,
            "final_eval_loss": looked[-1] if looked else None,
            "total_steps": state.get("global_step"),
            "training_time_seconds": seconds,
            "training_time_hours": None if seconds is None else seconds / 3600,
        }
    return {}
