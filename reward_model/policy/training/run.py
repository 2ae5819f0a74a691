"""The folder of a policy run: what was asked, whether a killed run can go on, and what is kept.

`run.json`, `split.json`, `log.jsonl`, `checkpoints/`, then `best/` or `adapter/`, `metrics.json`
last: where it is, the run is over.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, TrainerCallback
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from reward_model.data.split import SPLIT, Split
from reward_model.model.adapter import merged_state
from reward_model.model.quiet import quiet
from reward_model.policy.base import ADAPTER, BASE, BEST, RUN, folder_digest, save_tokenizer
from reward_model.policy.settings import PolicyConfig
from reward_model.records import UserError, explain_os_error, read_object, write_json, write_text
from reward_model.records.appending import Appender, locked
from reward_model.records.files import write_jsonl
from reward_model.records.folders import staged
from reward_model.train.checkpoints import METRICS, last_checkpoint
from reward_model.train.processes import Weights

LOG = "log.jsonl"
STATE = "trainer_state.json"
_ELSEWHERE = {"data", "project", "name", "output_dir"}
"""Settings that change nothing of what is trained; what the data hold is compared by digest."""


def begin(
    config: PolicyConfig, split: Split, digests: Mapping[str, str], *, resume: bool = False
) -> tuple[Path | None, bool]:
    """Write what is asked; (checkpoint to go on from, or None; the run is over already).

    Raises:
        UserError: the folder holds another run, or cannot be written.
    """
    folder = config.folder
    settings = config.model_dump(mode="json")
    old = read_object(folder / RUN)
    if old is not None:
        differing = _differing(old, settings, digests, read_object(folder / SPLIT), split)
        begun = last_checkpoint(folder) is not None or (folder / LOG).exists()
        if differing and not begun and not (folder / METRICS).exists():
            old = None  # it was refused before its first step: nothing is there to keep
        elif differing:
            raise UserError(
                f"a run with other {', '.join(differing)}",
                expected="the settings and data it was started with",
                mend="name another one with --name, or remove the folder",
                path=folder,
            )
        elif (folder / METRICS).exists():
            return None, True
        else:
            return last_checkpoint(folder), False
    if resume:
        raise UserError(
            "no run to go on with", expected=f"{RUN} of one", mend="leave out --resume", path=folder
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, folder) from None
    split.write(folder)
    names = {"project": config.group, "name": config.label}
    parent = Path(config.base_model).parent
    write_json(
        folder / RUN,
        {
            "version": 1,
            "names": names,
            "objective": config.objective,
            "settings": settings,
            "resolved": {
                "learning_rate": config.rate,
                "beta": config.strength,
                "alpha": config.second,
            },
            "digests": dict(digests),
            "versions": {p: version(p) for p in ("trl", "transformers", "torch", "peft")},
            "data": str(Path(config.data).resolve()) if Path(config.data).exists() else config.data,
            "base": base_path(config.base_model),
            "parent": str(parent) if (parent / RUN).exists() else None,
        },
    )
    return None, False


def alone(folder: Path) -> AbstractContextManager[None]:
    """Keep other runs out of the folder.

    Raises:
        UserError: one is in it.
    """
    return locked(
        folder / RUN,
        found="a folder that another run is training in",
        mend="wait for it to end, or name another one with --name",
    )


def base_path(place: str) -> str:
    """A folder's absolute path, or the hub id."""
    return str(Path(place).resolve()) if Path(place).is_dir() else place


def _differing(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    digests: Mapping[str, str],
    old_split: Any,
    split: Split,
) -> list[str]:
    before = old.get("settings") or {}
    defaults = {n: f.get_default(call_default_factory=True) for n, f in
                PolicyConfig.model_fields.items() if not f.is_required()}  # fmt: skip
    jsonable = json.loads(json.dumps(defaults, default=str))
    found = [
        name.replace("_", "-")
        for name in new
        if name not in _ELSEWHERE and before.get(name, jsonable.get(name)) != new[name]
    ]
    kept = old.get("digests") or {}
    found += [f"{name} (what it holds)" for name in digests if kept.get(name) != digests[name]]
    if old_split is not None and old_split != split.model_dump(mode="json"):
        found += [] if "data (what it holds)" in found else ["groups held out"]
    return list(dict.fromkeys(found))


class LogFile(TrainerCallback):
    """A line of `log.jsonl` a logging step, as it comes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Append what the trainer says."""
        if state.is_world_process_zero and logs:
            with Appender(self._path) as file:
                file.append(_plain({"step": state.global_step, **logs}))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as JSON has them: none for what is no number."""
    out = {}
    for name, value in values.items():
        number = value.item() if hasattr(value, "item") else value
        bad = isinstance(number, float) and (number != number or abs(number) == float("inf"))
        out[name] = None if bad else number
    return out


def finish(
    config: PolicyConfig,
    trainer: Any,
    tokenizer: Any,
    weights: Weights | None,
    metrics: dict[str, Any],
) -> None:
    """Write the policy, then `metrics.json`, which says that the run is over."""
    folder = config.folder
    history = [_plain(log) for log in trainer.state.log_history]
    write_jsonl(folder / LOG, history)
    write_json(folder / STATE, {**_state(trainer), "log_history": history})
    model = trainer.accelerator.unwrap_model(trainer.model)
    if config.adapted:
        _save_adapter(config, model, tokenizer, weights)
    if not config.embeds:
        _save_best(config, model, tokenizer, weights)
    write_text(folder / "README.md", _card(config, metrics))
    write_json(folder / METRICS, metrics)


def _state(trainer: Any) -> dict[str, Any]:
    state = trainer.state
    return {
        "global_step": state.global_step,
        "max_steps": state.max_steps,
        "epoch": state.epoch,
        "num_train_epochs": state.num_train_epochs,
        "best_global_step": state.best_global_step,
        "best_metric": state.best_metric,
    }


def _save_adapter(
    config: PolicyConfig, model: Any, tokenizer: Any, weights: Weights | None
) -> None:
    base = base_path(config.base_model)
    model.peft_config["default"].base_model_name_or_path = base
    with staged(config.folder / ADAPTER) as staging, quiet():
        model.save_pretrained(str(staging), state_dict=weights, selected_adapters=["default"])
        save_tokenizer(tokenizer, staging)
        write_json(staging / BASE, {"base": base, "digest": folder_digest(base)})
        for card in staging.glob("README.md"):
            card.unlink()


def _save_best(config: PolicyConfig, model: Any, tokenizer: Any, weights: Weights | None) -> None:
    """A whole model that loads anywhere, in the precision of its base."""
    state: Mapping[str, Any] = weights if weights is not None else model.state_dict()
    inner = model.get_base_model() if config.adapted else model
    settings = copy.deepcopy(inner.config)
    if hasattr(settings, "quantization_config"):
        del settings.quantization_config
    if config.adapted:
        state = merged_state(model, state)
    dtype = next(v.dtype for v in state.values() if v.is_floating_point())
    unset_hf_deepspeed_config()  # else ZeRO-3 would take this model apart, too
    with staged(config.folder / BEST) as staging, quiet():
        kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(settings)]
        whole = kind.from_pretrained(None, config=settings, state_dict=dict(state), dtype=dtype)
        whole.generation_config = inner.generation_config
        whole.save_pretrained(staging)
        save_tokenizer(tokenizer, staging)


def _card(config: PolicyConfig, metrics: Mapping[str, Any]) -> str:
    rows = metrics["rows"]
    kept = f"{rows['train']:,} rows, {rows['test']:,} kept for a test"
    where = BEST if not config.embeds else f"{ADAPTER} on its base"
    return (
        f"# {config.label}\n\n"
        f"`{base_path(config.base_model)}` after {config.objective}"
        + (f" at beta {config.strength:g}" if config.strength is not None else "")
        + f": {metrics['steps']:,} steps, {kept}.\n\n"
        f"The policy is `{where}`. How good it is, `reward-model policy evaluate` measures; every "
        f"setting stands in `{RUN}`.\n"
    )


__all__ = ["LOG", "STATE", "LogFile", "alone", "base_path", "begin", "finish"]
