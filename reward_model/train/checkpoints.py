"""The output folder of a training run: what is in it, and whether a stopped run can go on.

`train_config.json`, `split.json`, `checkpoints/checkpoint-N`, `best/`, `metrics.json`; the last one
is written when the run is over.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reward_model.data.split import SPLIT, Split
from reward_model.records import UserError, explain_os_error, read_object, write_json
from reward_model.train.config import TrainConfig

CONFIG = "train_config.json"
METRICS = "metrics.json"
CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"
"""Adapter and heads of a run with LoRA."""


def prepare_folder(config: TrainConfig, split: Split, *, resume: bool) -> Path | None:
    """Write settings and split; the checkpoint to go on from, or None to start at the beginning.

    A run that did not finish goes on when settings and data are the same, with or without `resume`;
    `resume` makes it an error when they are not. Otherwise checkpoints of an older run are removed.

    Raises:
        UserError: the folder cannot be written, or holds another run and `resume` is set.
    """
    folder = config.output_dir
    settings = config.model_dump(mode="json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old, old_split = read_object(folder / CONFIG), read_object(folder / SPLIT)
        differing = _differing(old, settings, old_split, split)
        if resume and old and differing:
            raise UserError(
                f"a run with other {', '.join(differing)}",
                expected="the settings and data it was started with",
                mend="leave out --resume to start anew, or choose another --output-dir",
                path=folder,
            )
        same = old is not None and not differing
        unfinished = not (folder / METRICS).exists()
        if same and (resume or unfinished):
            return last_checkpoint(folder)
        (folder / METRICS).unlink(missing_ok=True)
        for name in (CHECKPOINTS, ADAPTER):
            if (folder / name).exists():
                shutil.rmtree(folder / name)
    except OSError as error:
        raise explain_os_error(error, folder) from None
    write_json(folder / CONFIG, settings)
    split.write(folder)
    return None


def is_finished(config: TrainConfig, split: Split) -> bool:
    """The folder holds the end of this very run."""
    folder = config.output_dir
    old = read_object(folder / CONFIG)
    same = old is not None and not _differing(
        old, config.model_dump(mode="json"), read_object(folder / SPLIT), split
    )
    return same and (folder / METRICS).exists() and (folder / "best").is_dir()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; one that was being written when the run was killed is not."""
    found = sorted((folder / CHECKPOINTS).glob("checkpoint-*"), key=_step, reverse=True)
    # The Trainer writes its state last, so what has a readable state has everything.
    return next(
        (path for path in found if read_object(path / "trainer_state.json") is not None), None
    )


def _step(path: Path) -> int:
    number = re.search(r"\d+$", path.name)
    return int(number.group()) if number else -1


def _differing(
    old: dict[str, Any] | None, new: dict[str, Any], old_split: Any, split: Split
) -> list[str]:
    if old is None:
        return []
    # A setting that is newer than the run was at what is now its default.
    old = {**TrainConfig(scored=Path()).model_dump(mode="json"), **old}
    names = [name for name in new if old[name] != new[name]]
    # The file may lie elsewhere today; what it holds is compared below.
    elsewhere = {"scored", "output_dir", "report_to", "cache_dir"}
    names = [name for name in names if name not in elsewhere]
    try:
        before = Split.model_validate(old_split)
    except ValidationError:
        return [*names, "data"]
    if before.rubric and before.rubric != split.rubric:
        names.append("levels or weights in the rubric")
    if before != split.model_copy(update={"rubric": before.rubric}):
        names.append("data")
    return names
