"""A model folder: weights, configuration, tokenizer and rubric, written together and read together.

`save_bundle(model, tokenizer, rubric, folder)`; `load_bundle(folder)` gives all of it back with the
input builder the model was trained with, or says in words what is wrong with the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoTokenizer
from transformers.utils.hub import cached_file

from reward_model.data.tokens.inputs import InputBuilder
from reward_model.data.tokens.wrapping import TODAY
from reward_model.model.familiarity import Familiarity
from reward_model.model.familiarity import load as load_familiarity
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.model.quiet import UNREADABLE, check_fetched, model_type, quiet
from reward_model.records import (
    UserError,
    explain_os_error,
    is_folder,
    is_there,
    write_json,
    write_text,
)
from reward_model.records.errors import first_line, some_of
from reward_model.records.files import Pathish
from reward_model.records.folders import staged
from reward_model.rubrics import Rubric

RUBRIC = "rubric.json"
SCALE = "reward_scale.json"
"""Mean and standard deviation of the reward on reference texts, where somebody stored them."""


@dataclass(frozen=True)
class Bundle:
    """All that scoring needs."""

    model: MultiDimRewardModel
    tokenizer: Any
    rubric: Rubric
    builder: InputBuilder
    familiarity: Familiarity | None = None
    """How like its training texts others are; None for models from before it was measured."""


def save_bundle(
    model: MultiDimRewardModel,
    tokenizer: Any,
    rubric: Rubric,
    folder: Pathish,
    card: str = "",
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write a model folder that appears whole, replacing one that stood there.

    Args:
        model: its weights and configuration.
        tokenizer: the model's.
        rubric: the model's.
        folder: where to.
        card: the README.
        state: all weights by name, where the model itself holds only a shard of them.

    Raises:
        UserError: the place cannot be written.
    """
    with staged(folder) as staging, quiet():
        model.save_pretrained(staging, state_dict=state)
        tokenizer.save_pretrained(staging)
        write_json(staging / RUBRIC, rubric.model_dump(mode="json", exclude_unset=True))
        if card:
            write_text(staging / "README.md", card)


def load_bundle(folder: Pathish, **kwargs: Any) -> Bundle:
    """Read a model folder; the model is in evaluation mode.

    Args:
        folder: what `save_bundle` or `reward-model train` wrote.
        kwargs: for `from_pretrained`, for example `dtype` or `attn_implementation`.

    Raises:
        UserError: no such folder, or not one of a trained reward model.
    """
    path = Path(folder)
    rubric = read_rubric(path)
    settings = json.loads((path / "config.json").read_bytes())
    _check(settings, path / "config.json")
    check_backbone(settings, path)
    try:
        with quiet():
            config = MultiDimRewardConfig.from_pretrained(path)
            loaded: Any = MultiDimRewardModel.from_pretrained(
                path, config=config, output_loading_info=True, **kwargs
            )
            # Said outright: left open, transformers asks whoever sits at the terminal.
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except UNREADABLE as error:
        raise UserError(
            f"a model that cannot be read ({first_line(error)})",
            expected="the folder that reward-model train wrote, whole",
            path=path,
        ) from None
    model, found = loaded
    missing = sorted(found["missing_keys"])
    if missing:
        raise UserError(
            f"a model without the weights of {some_of(missing)}",
            expected="all weights of backbone and heads in model.safetensors",
            path=path,
        )
    if list(rubric.names) != config.dimensions or rubric.classes != config.num_levels:
        raise UserError(
            f"a rubric with {', '.join(rubric.names)} on levels 0..{rubric.scale}",
            expected=f"the one of the model: {', '.join(config.dimensions)} "
            f"on levels 0..{config.num_levels - 1}",
            path=path / RUBRIC,
        )
    model.eval()
    familiar = load_familiarity(path, model.vector_size)
    return Bundle(model, tokenizer, rubric, builder_of(tokenizer, config), familiar)


def check_backbone(settings: Mapping[str, Any], path: Path) -> None:
    """Refuse a model whose backbone only code of its own could build.

    Raises:
        UserError: transformers does not have its type.
    """
    backbone = settings.get("backbone_config")
    kind = backbone.get("model_type") if isinstance(backbone, dict) else None
    if isinstance(kind, str) and kind not in CONFIG_MAPPING:
        raise UserError(
            f"a backbone of type {kind}, which transformers does not have",
            expected="one that it has: no code of a model is ever run from here",
            mend="import its classes and name them to transformers (AutoConfig.register, "
            "AutoModel.register) before loading",
            path=path,
        )


def _check(settings: dict[str, Any], path: Path) -> None:
    """Settings of another type, which would only be noticed in the middle of scoring.

    Raises:
        UserError: there are some.
    """
    for name in ("max_input_length", "max_prompt_length", "window"):
        value = settings.get(name)
        fine = name != "max_input_length" if value is None else isinstance(value, int)
        if name in settings and not fine:
            raise UserError(f"{name} {value!r}", expected="a whole number of tokens", path=path)
    day = settings.get("template_date")
    try:
        date.fromisoformat(TODAY if day is None else day)
    except (TypeError, ValueError):
        raise UserError(f"template_date {day!r}", expected="YYYY-MM-DD", path=path) from None
    found = settings.get("temperatures")
    numbers = list(found.values()) if isinstance(found, dict) else [] if found is None else [found]
    if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
        raise UserError(
            f"temperatures {found!r}", expected="dimension -> a number above 0, or null", path=path
        )


def read_rubric(folder: Pathish) -> Rubric:
    """The rubric of a model folder, without loading the model.

    Raises:
        UserError: the folder is not one of a trained reward model.
    """
    path = Path(folder)
    if not is_folder(path):
        raise UserError(
            "a file" if is_there(path) else "no such folder",
            expected="the folder of a trained model, for example outputs/multidim/best",
            path=path,
        )
    if (path / "adapter_config.json").exists():
        raise UserError(
            "an adapter without its base model",
            expected="a whole model, such as `best` beside it",
            mend="or join it with its base: reward_model.model.adapter.load_adapter, then merge",
            path=path,
        )
    check_fetched(path)
    kind = model_type(path)
    if kind != MultiDimRewardConfig.model_type:
        raise UserError(
            f"a {kind} model" if kind else "no config.json of a model",
            expected="the folder that reward-model train wrote (its `best`)",
            mend="a plain backbone has no heads yet: train one with --base-model",
            path=path,
        )
    try:
        return Rubric.model_validate(json.loads((path / RUBRIC).read_bytes()))
    except OSError as error:
        raise explain_os_error(error, path / RUBRIC) from None
    except (ValueError, ValidationError) as error:
        raise UserError(
            f"a broken rubric ({first_line(error)})", expected="JSON", path=path / RUBRIC
        ) from None


def model_digest(folder: Path) -> str:
    """Fingerprint of what scores follow from: configuration, rubric, tokenizer and all weights.

    Not of what is written about the model: card, README, split and scale may change beside it.

    Raises:
        UserError: the folder cannot be read.
    """
    found = hashlib.sha256()
    kinds = {".json", ".jinja", ".model", ".safetensors", ".txt"}
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in kinds and not _beside(path.name):
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                found.update(f"{path.name} {content}\n".encode())
    except OSError as error:
        raise explain_os_error(error, folder) from None
    return found.hexdigest()[:16]


def _beside(name: str) -> bool:
    """What may change beside a model: its split, and scales of it or of several with it."""
    return name == "split.json" or name.startswith(f"{Path(SCALE).stem}.")


def first_model_digest(folder: Path) -> str:
    """What `model_digest` was in 0.1.0, so that scores begun then are gone on with.

    It saw the configuration and both ends of the weight files alone.
    """
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


def weights_digest(name_or_path: str) -> str | None:
    """Fingerprint of the weights of a base model: names, types, shapes and every number.

    How they are divided over files does not count, nor does what else the folder holds, so that a
    copy is known again.

    Args:
        name_or_path: folder, or id of a hub whose files have been fetched.

    Returns:
        16 hexadecimal digits; None where there is nothing to be read.
    """
    try:
        folder = Path(name_or_path)
        if not folder.is_dir():
            cached: Any = cached_file(name_or_path, "config.json", local_files_only=True)
            folder = Path(cached).parent
        found = hashlib.sha256()
        with contextlib.ExitStack() as stack:
            files = [
                stack.enter_context(safe_open(path, "pt"))
                for path in sorted(folder.glob("*.safetensors"))
            ]
            tensors = [(name, i) for i, file in enumerate(files) for name in file.keys()]  # noqa: SIM118
            for name, i in sorted(tensors):
                tensor = files[i].get_tensor(name)
                found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
                # numpy has no bfloat16; bytes are all that is wanted.
                found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        for path in sorted(folder.glob("*.bin")) if not files else ():
            with path.open("rb") as one:
                found.update(hashlib.file_digest(one, "sha256").digest())
                files.append(one)
    except (OSError, TypeError, SafetensorError, RuntimeError):
        return None
    return found.hexdigest()[:16] if files else None


def builder_of(tokenizer: Any, config: MultiDimRewardConfig) -> InputBuilder:
    """The builder of inputs that a model was trained with."""
    return InputBuilder(
        tokenizer,
        config.max_input_length,
        max_prompt_length=config.max_prompt_length,
        evidence=config.evidence,
        input_format=config.input_format,
        template_date=config.template_date,
    )
