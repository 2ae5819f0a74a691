"""LoRA: small trained matrices beside the frozen weights of a backbone; heads are trained whole.

`add_lora(model, config, base)` before training, `save_adapter(adapted, folder)` and
`merge(adapted)` after it; `load_adapter(folder)` puts a saved adapter on its base again.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from torch import Tensor, nn

from reward_model.model.folder import check_backbone, weights_digest
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.model.quiet import UNREADABLE, quiet
from reward_model.records import UserError, parse_json, read_object, write_json, write_text
from reward_model.records.errors import first_line, require, some_of
from reward_model.records.files import Pathish
from reward_model.records.folders import staged

if TYPE_CHECKING:
    from peft import PeftModel

NAME = "default"
"""peft's name for the one adapter of a model."""
BASE = "base.json"
"""What an adapter was trained beside: name, type and fingerprint of the weights."""
PREFIX = "base_model.model."
"""What peft puts before every name of the model it wraps."""


def is_adapted(model: Any) -> bool:
    """The model carries LoRA adapters."""
    return hasattr(model, "peft_config")


def plain(model: Any) -> MultiDimRewardModel:
    """The model itself, without what peft put around it."""
    inner: MultiDimRewardModel = model.get_base_model() if is_adapted(model) else model
    return inner


def save_adapter(
    adapted: PeftModel, tokenizer: Any, folder: Pathish, state: Mapping[str, Tensor] | None = None
) -> None:
    """Write adapter and heads as safetensors, with what `load_adapter` needs besides the base.

    Args:
        adapted: from `add_lora`.
        tokenizer: written beside it.
        folder: appears whole, replacing one that stood there.
        state: all weights by name, where the model itself holds only a shard of them.
    """
    base = str(adapted.peft_config[NAME].base_model_name_or_path)
    known: Any = plain(adapted).config.backbone_config
    stamp = {"base": base, "model_type": known.model_type, "weights": weights_digest(base)}
    with staged(folder) as staging, quiet():
        adapted.save_pretrained(str(staging), state_dict=state)
        plain(adapted).config.save_pretrained(staging)
        write_json(staging / BASE, stamp)
        tokenizer.save_pretrained(staging)
        write_text(
            staging / "README.md",
            f"# LoRA adapter and heads\n\nTrained on `{base}`; useless without it.\n\n"
            "`reward_model.model.adapter.load_adapter(folder)` puts them on that base again, and\n"
            "`reward_model.model.adapter.merge` makes one model of both.\n",
        )


def load_adapter(folder: Pathish, base: Pathish | None = None) -> PeftModel:
    """Base model with the adapter and heads of `folder`, in evaluation mode.

    Args:
        folder: `adapter` of a training run.
        base: folder or hub id of the backbone it was trained on, where that moved.

    Raises:
        UserError: no adapter in `folder`, or not the base that it was trained on.
    """
    require("LoRA", "lora", "peft")
    from peft import PeftModel

    path = Path(folder)
    try:
        named = parse_json((path / "adapter_config.json").read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            "no adapter",
            expected="the folder `adapter` of a training run with --lora-rank",
            path=path,
        ) from None
    name = str(base or named)
    try:
        check_backbone(parse_json((path / "config.json").read_bytes()), path)
        with still():
            config: Any = MultiDimRewardConfig.from_pretrained(path)
            backbone = config.backbone_config
            quantized = getattr(backbone, "quantization_config", None)
            wanted = backbone.model_type
            if quantized:
                require("an adapter on 4-bit weights", "qlora", "bitsandbytes")
            model = MultiDimRewardModel.from_backbone(
                name,
                config,
                trust_remote_code=False,  # left open, transformers asks whoever sits there
                **({"quantization_config": quantized} if quantized else {}),
            )
            _check_base(path, name, wanted, config.backbone_config.model_type)
            adapted: PeftModel = PeftModel.from_pretrained(model, str(path)).eval()
            _check_names(adapted, path)
            return adapted
    except (*UNREADABLE, ImportError) as error:
        raise UserError(
            f"an adapter that does not fit {name} ({first_line(error)})",
            expected=f"the base model it was trained on ({named})",
            mend="pass base=... if it lies elsewhere",
            path=path,
        ) from None


def _check_base(path: Path, name: str, wanted: str, kind: str) -> None:
    """Matrices of the right shapes fit many bases, and mean something beside one of them alone."""
    stamp = read_object(path / BASE) or {}
    known = stamp.get("weights")
    if kind == wanted and (known is None or known == weights_digest(name)):
        return
    what = f"a {kind} model" if kind != wanted else "other weights"
    raise UserError(
        f"{what} in {name}, which this adapter was not trained on",
        expected=f"the {wanted} model it was trained on ({stamp.get('base', 'as it was then')}"
        + (f", weights {known})" if known else ")"),
        mend="pass base=... if it lies elsewhere",
        path=path,
    )


def _check_names(adapted: PeftModel, path: Path) -> None:
    """peft leaves what it finds under no name at its random start, and only warns."""
    from peft import get_peft_model_state_dict

    with safe_open(path / "adapter_model.safetensors", "pt") as file:
        missing = sorted(get_peft_model_state_dict(adapted).keys() - set(file.keys()))
    if missing:
        raise UserError(
            f"an adapter without the weights of {some_of(missing)}",
            expected="all matrices and heads that adapter_config.json names",
            path=path,
        )


def merge(adapted: PeftModel) -> MultiDimRewardModel:
    """A plain model with the adapter added to its weights; `adapted` stays as it is.

    4-bit weights are put back into the precision that the backbone computes in. peft would round
    the sum to 4 bits again, and the merged model would score differently from the trained one.

    Args:
        adapted: from `add_lora` or `load_adapter`; every process holds all of it.
    """
    config = copy.deepcopy(plain(adapted).config)
    if hasattr(config.backbone_config, "quantization_config"):
        del config.backbone_config.quantization_config
    merged = merged_state(adapted, adapted.state_dict())
    dtype = next(v.dtype for k, v in merged.items() if k.startswith("backbone."))
    with quiet():
        model = MultiDimRewardModel.from_pretrained(
            None, config=config, state_dict=merged, dtype=dtype
        )
    model.eval()
    return model


def merged_state(adapted: PeftModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the plain model that computes what `adapted` computes, by its names."""
    modules = {
        name.removeprefix(PREFIX): module for name, module in adapted.named_modules() if name
    }
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix(PREFIX)
        if ".lora_" in name or ".original_module." in name:
            continue
        owner, _, leaf = name.rpartition(".")
        name = name.replace(".base_layer.", ".").replace(f".modules_to_save.{NAME}.", ".")
        module = modules.get(owner)
        if leaf == "weight" and module is not None:
            value = _dense(module, value)
            wrapper = owner.removesuffix(".base_layer")
            if wrapper != owner:
                value = value + _delta(modules[wrapper], wrapper, state).to(value)
        elif module is None:
            continue  # `weight.absmax` and its like: how the 4-bit weights are to be read
        out[name] = value
    return out


def _dense(module: nn.Module, weight: Tensor) -> Tensor:
    """The weight as numbers, whatever it is kept in."""
    packed: Any = getattr(module, "weight", None)
    if getattr(packed, "quant_state", None) is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    dense: Tensor = dequantize_4bit(packed.data, packed.quant_state)
    return dense


def _delta(layer: Any, name: str, state: Mapping[str, Tensor]) -> Tensor:
    """What the adapter adds to the weight of one layer: scaled B @ A."""
    down = state[f"{PREFIX}{name}.lora_A.{NAME}.weight"].float()
    up = state[f"{PREFIX}{name}.lora_B.{NAME}.weight"].float()
    delta: Tensor = up @ down * layer.scaling[NAME]
    # GPT-2 keeps its weights the other way round.
    return delta.T if layer.fan_in_fan_out else delta


@contextlib.contextmanager
def still() -> Iterator[None]:
    """Keep peft's questions to an older transformers off the terminal."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # refused in words
        yield
