"""TRL's trainer of a run: configuration, model, adapter, data set.

`build(parts)`; what each method needs stands in the table of `settings`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars

from reward_model.policy.base import Place, find_policy, is_tensor, load_weights, read_tokens
from reward_model.policy.frame import Frame
from reward_model.policy.rewards import Rewards
from reward_model.policy.rows import PolicyRow
from reward_model.policy.settings import PolicyConfig, losses
from reward_model.policy.training.watch import Watch, WatchOnly
from reward_model.records import UserError, read_text
from reward_model.records.errors import first_line
from reward_model.train.checkpoints import CHECKPOINTS
from reward_model.train.processes import processes

OURS = {
    "beta": "--beta", "learning_rate": "--lr", "loss_type": "--loss", "loss_weights": "--loss",
    "num_train_epochs": "--epochs", "output_dir": "--output-dir", "seed": "--seed",
    "max_length": "--max-length", "per_device_train_batch_size": "--device-batch",
    "gradient_accumulation_steps": "--batch-size", "reward_weights": "--reward",
    "max_completion_length": "--max-new-tokens", "max_new_tokens": "--max-new-tokens",
    "precompute_ref_log_probs": "nothing: the reference is computed as it goes",
}  # fmt: skip
"""TRL's fields that have a flag here."""
_AT_ONCE = 8


@dataclass
class Parts:
    """What a trainer is built of."""

    config: PolicyConfig
    place: Place
    frame: Frame
    train: Sequence[PolicyRow]
    validation: Sequence[PolicyRow]
    rewards: Rewards | None = None
    watch: Watch | None = None


def build(parts: Parts) -> Any:
    """The trainer.

    Raises:
        UserError: settings that TRL does not take, or weights that cannot be loaded.
    """
    config = parts.config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = _arguments(parts)
        dtype = torch.bfloat16 if args.bf16 and config.adapted else torch.float32
        model = load_weights(parts.place, dtype=dtype, **_quantised(config, dtype))
        given: dict[str, Any] = {
            "model": model,
            "args": args,
            "train_dataset": _dataset(parts, parts.train),
            "processing_class": parts.frame.tokenizer,
            "peft_config": _peft(config, model),
        }
        if args.eval_strategy != "no":
            given["eval_dataset"] = _dataset(parts, parts.validation)
        if config.reference is not None:
            given["ref_model"] = load_weights(find_policy(config.reference), dtype=dtype)
        if parts.rewards is not None:
            given["reward_funcs"] = parts.rewards.functions
        kind = _load(config.how.trainer)
        if config.objective == "pref_po":
            kind = _load("reward_model.policy.training.trainer:PreferenceTrainer")
        if parts.watch is not None and config.how.online:
            kind = type(f"Watched{kind.__name__}", (WatchOnly, kind), {})
        if config.objective in ("pref_po", "orpo", "simpo"):
            given |= _own(parts, model)
        try:
            trainer = kind(**given)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise UserError(
                f"a run that TRL does not begin ({first_line(error)})",
                expected="settings that go together",
                mend="see --set and docs/policies.md",
            ) from None
    if config.embeds:
        _begin_tokens(trainer, config)
    return trainer


def _load(name: str) -> Any:
    module, _, what = name.partition(":")
    try:
        return getattr(importlib.import_module(module), what)
    except (ImportError, AttributeError):
        raise UserError(
            f"a TRL without {what}",
            expected="TRL 1.15 or later, and of the experimental trainers one that still has it",
            mend="pip install -U 'multidim-reward[rlhf]'",
        ) from None


def _arguments(parts: Parts) -> Any:
    config = parts.config
    kind = _load(config.how.config)
    world = processes().num_processes
    if config.batch_size % world:
        raise UserError(
            f"--batch-size {config.batch_size} over {world} processes",
            expected="the same number of rows for each",
        )
    share = config.batch_size // world
    at_once = min(share, config.device_batch or _AT_ONCE)
    while share % at_once:
        at_once -= 1
    gpu = torch.cuda.is_available()
    precision = _precision(config)
    when = "steps" if config.eval_steps else "epoch"
    online = config.how.online
    looks = bool(parts.validation) and (not online or parts.watch is not None)
    values: dict[str, Any] = {
        "output_dir": str(config.folder / CHECKPOINTS),
        "run_name": config.label,
        "num_train_epochs": config.epochs,
        "learning_rate": config.rate,
        "per_device_train_batch_size": at_once,
        "per_device_eval_batch_size": at_once,
        "gradient_accumulation_steps": share // at_once,
        "gradient_checkpointing": gpu,
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "eval_strategy": when if looks else "no",
        "save_strategy": when,
        "save_total_limit": 2,
        "logging_steps": 1 if len(parts.train) < 50 * config.batch_size else 10,
        # A loss that is no number has to be seen, not averaged away.
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
        "use_cpu": not gpu and not torch.accelerator.is_available(),
        "report_to": "none",
        "seed": config.seed,
    }
    if config.eval_steps:
        values |= {"eval_steps": config.eval_steps, "save_steps": config.eval_steps}
    if parts.watch is not None:
        values |= {
            "load_best_model_at_end": True,
            "metric_for_best_model": parts.watch.metric,
            "greater_is_better": True,
        }
    if not config.how.online or config.method == "online-dpo":
        values["max_length"] = config.max_length
    if config.strength is not None:
        values["beta"] = config.strength
    if config.method == "dpo" and config.objective != "pref_po":
        values |= _loss(config)
    if config.method in ("orpo", "simpo"):
        values["precompute_ref_log_probs"] = True  # and none is: no reference is loaded
    if config.objective == "pref_po":
        values["remove_unused_columns"] = False
    if config.method in ("grpo", "rloo"):
        values |= {"max_completion_length": config.max_new_tokens, "temperature": 1.0}
        values["num_generations"] = _generations(config)
        values["per_device_eval_batch_size"] = values["num_generations"]
    if config.method == "online-dpo":
        values |= {"max_new_tokens": config.max_new_tokens}
    if parts.rewards is not None:
        values["reward_weights"] = parts.rewards.weights
    values |= read_fields(kind, config.trl)
    if values["report_to"] == "wandb" or "wandb" in values["report_to"]:
        os.environ.setdefault("WANDB_PROJECT", config.group)
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"settings that TRL does not take ({first_line(error)})",
            expected=f"fields of {kind.__name__} that go together",
        ) from None


def _loss(config: PolicyConfig) -> dict[str, Any]:
    parts = losses(config.loss)
    if parts[0][0] == "sipa":
        return {"loss_type": ["sigmoid_norm", "sft"], "loss_weights": [1.0, config.second]}
    values: dict[str, Any] = {"loss_type": [name for name, _ in parts]}
    if len(parts) > 1 or parts[0][1] != 1:
        values["loss_weights"] = [weight for _, weight in parts]
    if any(name == "exo_pair" for name, _ in parts) and "label_smoothing" not in config.trl:
        values["label_smoothing"] = 1e-3  # it has no loss at 0
    return values


def _generations(config: PolicyConfig) -> int:
    """Answers a prompt: of those that divide a step the most, up to 8."""
    found = [n for n in range(2, 9) if config.batch_size % n == 0]
    if not found:
        raise UserError(
            f"--batch-size {config.batch_size} with --method {config.method}",
            expected="a step of several answers to each prompt: a multiple of 2 to 8",
        )
    return found[-1]


def read_fields(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Fields of TRL's configuration as its own parser reads them.

    Args:
        kind: the configuration class.
        given: name -> text of the command line, or value of a TOML file.

    Raises:
        UserError: an unknown field, one that has a flag, or a value that does not fit it.
    """
    from trl.scripts.utils import TrlParser

    class Parser(TrlParser):  # type: ignore[misc, unused-ignore]
        def error(self, message: str) -> Any:
            raise UserError(
                f"--set {message}", expected=f"values that fit fields of {kind.__name__}"
            )

    known = {one.name for one in dataclasses.fields(kind) if one.init}
    for name in given:
        if name in OURS:
            raise UserError(f"--set {name}", expected=OURS[name])
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise UserError(
                f"--set {name}, which {kind.__name__} does not have",
                expected=f"{near[0]}?" if near else "one of its fields",
            )
    if not given:
        return {}
    words = ["--output_dir", "unused"]
    words += [] if "bf16" in given else ["--bf16", "False"]  # else it asks for a GPU
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(_word, values)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            (read,) = Parser([kind]).parse_args_into_dataclasses(args=words)
        except ValueError as error:
            raise UserError(
                f"--set {' '.join(given)} ({first_line(error)})",
                expected=f"values that fit fields of {kind.__name__}",
            ) from None
    return {name: getattr(read, name) for name in given}


def _word(value: Any) -> str:
    import json

    return json.dumps(value) if isinstance(value, dict) else str(value)


def _precision(config: PolicyConfig) -> str:
    if config.precision != "auto":
        return config.precision
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if fast else "fp32"


def _quantised(config: PolicyConfig, dtype: torch.dtype) -> dict[str, Any]:
    if not config.load_in_4bit:
        return {}
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    }


def _peft(config: PolicyConfig, model: Any) -> Any:
    if config.lora_rank:
        from peft import LoraConfig

        return LoraConfig(
            task_type="CAUSAL_LM",
            r=config.lora_rank,
            lora_alpha=config.lora_alpha or 2 * config.lora_rank,
            lora_dropout=0.0,
            target_modules="all-linear",
        )
    if config.virtual_tokens is not None:
        from peft import PromptTuningConfig

        return PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=len(_tokens(config, model))
        )
    return None


def _tokens(config: PolicyConfig, model: Any) -> torch.Tensor:
    """Virtual tokens (n, H) to begin with: given ones, or words drawn by seed."""
    said = config.virtual_tokens or ""
    words = model.get_input_embeddings().weight
    if not said.isdigit():
        return read_tokens(said, words.size(1))
    count = int(said)
    if not 1 <= count <= 1000:
        raise UserError(f"--virtual-tokens {count}", expected="1 to 1000, or a file of them")
    draw = torch.Generator().manual_seed(config.seed)
    picked = torch.randint(len(words), (count,), generator=draw)
    drawn: torch.Tensor = words.detach().float().cpu()[picked]
    return drawn


def _begin_tokens(trainer: Any, config: PolicyConfig) -> None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    weight = model.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        weight.copy_(_tokens(config, model.get_base_model()).to(weight))


def _own(parts: Parts, model: Any) -> dict[str, Any]:
    """What our trainer takes beside TRL's."""
    from reward_model.policy.training.trainer import GuidedCollator, Objective

    config = parts.config
    prefix = None
    if config.preference is not None and is_tensor(config.preference):
        prefix = read_tokens(config.preference, model.get_input_embeddings().weight.size(1))
    return {
        "objective": Objective(
            config.objective,
            config.strength or 0.0,
            config.second or 0.0,
            config.gamma,
            prefix,
        ),
        "data_collator": GuidedCollator(int(parts.frame.tokenizer.pad_token_id)),
    }


def _dataset(parts: Parts, rows: Sequence[PolicyRow]) -> Dataset:
    config = parts.config
    columns = parts.frame.columns(rows, config.how.kind)
    if config.how.online:
        columns |= _facts(rows, columns)
    elif config.objective == "pref_po" and not is_tensor(config.preference or ""):
        from reward_model.policy.training.trainer import GUIDED

        told = Frame(parts.frame.tokenizer, system=_preference(config.preference or ""))
        columns[GUIDED] = told.prompt_ids([row.prompt for row in rows])
    disable_progress_bars()
    return Dataset.from_dict(columns)


def _preference(said: str) -> str:
    path = Path(said[:255])
    text = read_text(path) if path.is_file() else said
    if not text.strip():
        raise UserError("an empty preference", expected="an instruction")
    return text.strip()


def _facts(rows: Sequence[PolicyRow], taken: dict[str, Any]) -> dict[str, list[Any]]:
    """Short columns that every row has in one type: a reward of the user's own may need them."""
    names = set.intersection(*(set(row.about) for row in rows)) if rows else set()
    found = {}
    for name in sorted(names - {*taken, "metadata"}):
        values = [row.about[name] for row in rows]
        if len({type(value) for value in values}) == 1:
            found[name] = values
    return found
