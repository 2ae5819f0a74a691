"""The output folder of a training run: what is in it, and whether a stopped run can go on.

`train_config.json`, `split.json`, `checkpoints/checkpoint-N`, `best/`, `metrics.json`; the last one
is written when the run is over.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from reward_model.data.split import SPLIT, Split
from reward_model.records import UserError, explain_os_error, read_object, write_json
from reward_model.records.errors import first_line, some_of
from reward_model.train.config import TrainConfig

CONFIG = "train_config.json"
METRICS = "metrics.json"
CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"
"""Adapter and heads of a run with LoRA."""
PROBE = "probe.json"
"""How the heads of the start were fitted."""
STATE = "trainer_state.json"
BASE_WEIGHTS = "base_weights"
"""Fingerprint of the base model, beside the settings."""
SAME_RESULT = frozenset(
    {"batch_tokens", "logging_steps", "patience", "precision", "gradient_checkpointing"}
    | {"attention", "trust_remote_code", "center_rewards"}
)
"""Settings of memory, speed and patience, what one changes after a run ran out of memory, and of
what is stored beside the model. It is the same but for rounding, so a run goes on under others."""
ELSEWHERE = frozenset({"scored", "output_dir", "report_to", "cache_dir"})
"""The file may lie elsewhere today; what it holds is compared by the split."""


@dataclass(frozen=True)
class Found:
    """What an output folder holds."""

    same: bool
    """This very run."""
    finished: bool
    """It came to its end."""
    harmless: tuple[str, ...] = ()
    """Settings that differ and change no result."""


def look(
    config: TrainConfig, split: Split, *, resume: bool, overwrite: bool, base: str | None = None
) -> Found:
    """What the output folder holds, and what this run has to do with it; nothing is changed.

    Args:
        config: of this run.
        split: of this run.
        resume: another run in the folder is an error even where it left nothing to lose.
        overwrite: another run in the folder may be removed.
        base: fingerprint of the base model's weights; not compared where not given.

    Raises:
        UserError: the folder holds another run, and `overwrite` is not set.
    """
    folder = config.output_dir
    old = read_object(folder / CONFIG)
    if overwrite:
        return Found(same=False, finished=False)
    there = [name for name in (CHECKPOINTS, METRICS, ADAPTER, "best") if _holds(folder / name)]
    if old is None and there:
        raise UserError(
            f"{', '.join(there)}, and no {CONFIG} that says which run they are of",
            expected="a new folder, or that of this very run",
            mend=f"choose another --output-dir, or --overwrite {config.output_dir}'s "
            "checkpoints and metrics",
            path=folder,
        )
    settings = _settings(config, base)
    differing, harmless = _differing(old or {}, settings, read_object(folder / SPLIT), split)
    if differing and (there or resume):
        raise UserError(
            f"a run with other {'; '.join(differing)}",
            expected="the settings and data it was started with",
            mend="choose another --output-dir, or --overwrite what that run left",
            path=folder,
        )
    same = old is not None and not differing
    done = same and (folder / METRICS).exists() and (folder / "best").is_dir()
    return Found(same=same, finished=done, harmless=harmless if same else ())


def prepare_folder(
    config: TrainConfig,
    split: Split,
    *,
    resume: bool = False,
    overwrite: bool = False,
    base: str | None = None,
) -> Path | None:
    """Write settings and split; the checkpoint to go on from, or None to start at the beginning.

    A run that did not finish goes on when settings and data are the same, or differ in what
    changes no result (`SAME_RESULT`). `best/` stays until another takes its place.

    Raises:
        UserError: the folder cannot be written, or holds another run.
    """
    folder = config.output_dir
    found = look(config, split, resume=resume, overwrite=overwrite, base=base)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Both may be links to a larger disk: what they point to is used, and the link stays.
        (folder / CHECKPOINTS).resolve().mkdir(parents=True, exist_ok=True)
        last = last_checkpoint(folder) if found.same else None
        _remove(folder, keep=last)
    except OSError as error:
        raise explain_os_error(error, folder) from None
    write_json(folder / CONFIG, _settings(config, base))
    split.write(folder)
    return last


def _remove(folder: Path, keep: Path | None) -> None:
    """Metrics, adapter and checkpoints of what was there; all but torn checkpoints with `keep`.

    Nothing else that somebody put there is touched.
    """
    if keep is None:
        for name in (METRICS, PROBE):
            (folder / name).unlink(missing_ok=True)
        if (folder / ADAPTER).is_symlink():
            (folder / ADAPTER).unlink()
        elif (folder / ADAPTER).exists():
            shutil.rmtree(folder / ADAPTER)
    for path in (folder / CHECKPOINTS).glob("checkpoint-*"):
        # A torn one that is newer would be counted among the last two, and push out a whole one.
        if keep is None or _step(path) > _step(keep):
            shutil.rmtree(path)


def _holds(path: Path) -> bool:
    """There is something to lose."""
    return any(path.glob("checkpoint-*")) if path.name == CHECKPOINTS else path.exists()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint whose best one is whole too; a run goes on from no other.

    One that was being written when the run was killed is not whole, nor is one of which the disk
    lost a part.
    """
    found = sorted((folder / CHECKPOINTS).glob("checkpoint-*"), key=_step, reverse=True)
    return next((path for path in found if _can_go_on(path)), None)


def _can_go_on(path: Path) -> bool:
    # The Trainer writes its state last, so what has a readable state was written to the end.
    state = read_object(path / STATE)
    if state is None or not _is_whole(path):
        return False
    best = state.get("best_global_step")
    there = path.parent / f"checkpoint-{best}"
    return best is None or there == path or _is_whole(there)


def _is_whole(path: Path) -> bool:
    """Every file has the length that it says it has: after a power cut, many have not."""
    weights = list(path.rglob("*.safetensors"))
    # Sharded checkpoints keep them in folders of their own.
    there = [*weights, *path.glob("pytorch_model*"), *path.glob("global_step*")]
    archives = [file for kind in ("*.pt", "*.pth", "*.bin") for file in path.rglob(kind)]
    try:
        for file in weights:
            with safe_open(file, "np"):
                pass
    except (OSError, SafetensorError):
        return False
    # What torch saves is a zip file, whose table of contents stands at its end.
    return bool(there) and all(zipfile.is_zipfile(file) for file in archives)


def check_all_read(missing: Sequence[str]) -> None:
    """See that a checkpoint had every weight of the model.

    Raises:
        UserError: those that it had not would silently stay as they are.
    """
    if missing:
        raise UserError(
            f"a checkpoint without {len(missing)} of the model's weights ({some_of(missing)})",
            expected="all of them; some backbones were saved under other names before",
            mend="add --overwrite to train anew",
        )


def _settings(config: TrainConfig, base: str | None) -> dict[str, Any]:
    settings = config.model_dump(mode="json")
    return settings if base is None else {**settings, BASE_WEIGHTS: base}


def _step(path: Path) -> int:
    number = re.search(r"\d+$", path.name)
    return int(number.group()) if number else -1


def _differing(
    old: dict[str, Any], new: dict[str, Any], old_split: Any, split: Split
) -> tuple[list[str], tuple[str, ...]]:
    """What makes it another run, in words; and settings that differ and do not."""
    if not old:
        return [], ()
    # A setting that is newer than the run was at what is now its default; 0.1.0 had no probe, and
    # a run that has begun asks for none.
    newer = {**TrainConfig(scored=Path()).model_dump(mode="json"), "probe": new["probe"]}
    old = {**newer, **old}
    changed = [name for name in new if name in old and old[name] != new[name]]
    harmless = tuple(sorted(name for name in changed if name in SAME_RESULT))
    words = [
        "weights in the base model, which was replaced under the same name"
        if name == BASE_WEIGHTS
        else f"{name} ({_brief(old[name])}, now {_brief(new[name])})"
        for name in changed
        if name not in SAME_RESULT | ELSEWHERE
    ]
    try:
        before = Split.model_validate(old_split)
    except ValidationError:
        return [*words, "data"], harmless
    if before.rubric and before.rubric != split.rubric:
        words.append("levels or weights in the rubric")
    # 0.1.0 named no companies and prompts beside the groups.
    ties = split.ties if before.ties else {}
    if before != split.model_copy(update={"rubric": before.rubric, "ties": ties}):
        words.append("data")
    return words, harmless


def _brief(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def write_failure(error: Exception, folder: Path) -> UserError | None:
    """A failure to write a checkpoint, in words; None where the error is another.

    Python, safetensors and torch each put a full disk in their own way.
    """
    if isinstance(error, OSError):
        full = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES}
        failed = error.errno in full
    else:
        signs = ("I/O error", "PytorchStreamWriter", "unexpected pos")
        failed = any(sign in str(error) for sign in signs)
    if not failed:
        return None
    return UserError(
        f"a checkpoint that could not be written ({first_line(error)})",
        expected="room on the disk, and the right to write there",
        mend="make room and run the same command to go on from the last checkpoint",
        path=folder,
    )
