"""Policies on a disk: a whole model, a run of ours, or an adapter on its base.

`open_policy(find_policy("outputs/policies/P/run"))` is a model with its frame, ready to answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
)

from reward_model.data.tokens.wrapping import TODAY, dated, prints_date
from reward_model.model.device import best_dtype, checked_device
from reward_model.model.network import MultiDimRewardConfig
from reward_model.model.quiet import (
    UNREADABLE,
    check_fetched,
    check_vocabulary,
    model_type,
    quiet,
)
from reward_model.policy.frame import Frame
from reward_model.records import UserError, digest, is_folder, is_there, read_object
from reward_model.records.errors import first_line, require
from reward_model.records.hub import check_there, is_hub_id

RUN = "run.json"
BEST, ADAPTER = "best", "adapter"
BASE = "base.json"
"""Beside an adapter: its base and that one's digest."""
_TOKENS = "prompt_embeddings"
"""peft's name for virtual tokens."""


@dataclass(frozen=True)
class Place:
    """Where a policy lies."""

    named: str
    """As it was given."""
    base: str
    """Folder or hub id of whole weights."""
    adapter: Path | None = None
    run: Path | None = None
    """Folder of the run it came from."""

    @property
    def name(self) -> str:
        """For tables: the run's, else the folder's."""
        if self.run is not None:
            return self.run.name
        return Path(self.named.rstrip("/")).name or self.named

    @property
    def digest(self) -> str:
        """Fingerprint of what the policy is made of."""
        parts = [folder_digest(self.base)]
        if self.adapter is not None:
            parts.append(folder_digest(str(self.adapter)))
        return digest(parts) if len(parts) > 1 else parts[0]


@dataclass
class Policy:
    """A policy that answers."""

    place: Place
    model: Any
    """In evaluation mode; LoRA is merged in."""
    tokenizer: Any
    frame: Frame
    prefix: Tensor | None = field(default=None, repr=False)
    """Virtual tokens (n, H) before everything it reads."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        found: torch.device = self.model.device
        return found

    @property
    def ends(self) -> set[int]:
        """Tokens that end an answer."""
        ids = self.model.generation_config.eos_token_id
        known = {ids} if isinstance(ids, int) else set(ids or ())
        return known | {self.tokenizer.eos_token_id}

    def logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, T, V) of the positions of `ids`, (B, T)."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        if self.prefix is None:
            out: Any = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
            )
            logits: Tensor = out.logits
            return logits
        embeds, whole = self.behind(ids, mask)
        positions = (whole.cumsum(1) - 1).clamp(min=0)
        out = self.model(
            inputs_embeds=embeds, attention_mask=whole, position_ids=positions, use_cache=False
        )
        logits = out.logits
        return logits[:, self.prefix.size(0) :]

    def behind(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded tokens behind the virtual ones, (B, n + T, H), and their mask."""
        assert self.prefix is not None
        words = self.model.get_input_embeddings()(ids)
        before = self.prefix.to(words)[None].expand(len(ids), -1, -1)
        ones = mask.new_ones(len(ids), self.prefix.size(0))
        # Padding stands left of the text, so the virtual tokens follow it there.
        if mask[:, 0].all():
            return torch.cat([before, words], 1), torch.cat([ones, mask], 1)
        n, width = self.prefix.size(0), ids.size(1)
        starts = (mask == 0).sum(1)
        embeds = words.new_zeros(len(ids), n + width, words.size(2))
        whole = mask.new_zeros(len(ids), n + width)
        for row, start in enumerate(starts.tolist()):
            embeds[row, start : start + n] = before[row]
            embeds[row, start + n :] = words[row, start:]
            whole[row, start:] = 1
        return embeds, whole


def find_policy(named: str) -> Place:
    """Where a policy lies; nothing is loaded.

    Raises:
        UserError: nothing there, something else, or an adapter whose base is gone or another.
    """
    path = Path(named)
    if is_there(path) and not is_folder(path):
        raise UserError("a file", expected="the folder of a policy", path=path)
    if not is_there(path):
        if not is_hub_id(named):
            raise UserError(
                f"no policy folder {named!r}",
                expected="a model folder, a run, an adapter, or a hub id",
            )
        check_there(named)
        return Place(named, named)
    if (path / RUN).exists():
        if (path / BEST / "config.json").exists():
            return Place(named, str(path / BEST), run=path)
        if (path / ADAPTER / "adapter_config.json").exists():
            base = _base_of(path / ADAPTER)
            return Place(named, base, path / ADAPTER, path)
        raise UserError(
            "a run that is not finished",
            expected=f"its {BEST}/ or {ADAPTER}/",
            mend="run the same reward-model policy train to its end",
            path=path,
        )
    run = path.parent if (path.parent / RUN).exists() else None
    if (path / "adapter_config.json").exists():
        return Place(named, _base_of(path), path, run)
    check_fetched(path)
    kind = model_type(path)
    if kind is None:
        broken = (path / "config.json").exists()
        raise UserError(
            "a config.json that names no kind of model" if broken else "a folder without a model",
            expected="config.json, adapter_config.json or run.json in it",
            mend="copy the folder again, whole" if broken else "",
            path=path,
        )
    settings = read_object(path / "config.json") or {}
    written = " ".join(map(str, settings.get("architectures") or ()))
    if kind == MultiDimRewardConfig.model_type or "ForSequenceClassification" in written:
        raise UserError(
            "a reward model",
            expected="a causal language model, which answers",
            mend="name it with --reward, and the policy here",
            path=path,
        )
    return Place(named, named, run=run)


def _base_of(adapter: Path) -> str:
    settings = read_object(adapter / "adapter_config.json") or {}
    kept = read_object(adapter / BASE) or {}
    base = str(kept.get("base") or settings.get("base_model_name_or_path") or "")
    path = Path(base)
    local = path.is_absolute() or base.startswith((".", "~")) or base.count("/") != 1
    if not base or (local and not (path / "config.json").exists()):
        raise UserError(
            f"an adapter whose base {base!r} is not there",
            expected="the model it was trained on",
            mend=f"put it there again, or write its new place into {adapter / BASE} as "
            '{"base": ...}',
            path=adapter,
        )
    known = kept.get("digest")
    if known and path.is_dir() and folder_digest(base) != known:
        raise UserError(
            f"an adapter whose base {base} has changed (digest {folder_digest(base)}, not {known})",
            expected="the weights it was trained on",
            path=adapter,
        )
    return base


def folder_digest(place: str) -> str:
    """Fingerprint of a model: its settings and both ends of its weights; a hub id is its own."""
    path = Path(place)
    if not path.is_dir():
        return place
    told = hashlib.sha256()
    names = [*path.glob("*config.json"), *path.glob("*.safetensors"), *path.glob("*.bin")]
    for file in sorted(names):
        if file.name in ("generation_config.json", "tokenizer_config.json"):
            continue
        size = file.stat().st_size
        told.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as opened:
            told.update(opened.read(1 << 20))
            opened.seek(max(0, size - (1 << 20)))
            told.update(opened.read())
    return told.hexdigest()[:12]


def read_tokenizer(place: Place) -> Any:
    """The tokenizer of a policy, with tokens for padding and the end, and one date for a chat
    template that prints the date of the day.

    Raises:
        UserError: none there, no causal language model, or no end token.
    """
    own = place.adapter is not None and (place.adapter / "tokenizer_config.json").exists()
    where = str(place.adapter) if own else place.base
    try:
        with quiet():
            known = AutoConfig.from_pretrained(place.base, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except (*UNREADABLE, ImportError) as error:
        raise _unusable(place, error) from None
    if type(known) not in MODEL_FOR_CAUSAL_LM_MAPPING or known.is_encoder_decoder:
        raise UserError(
            f"a {known.model_type} in {place.base}",
            expected="a causal language model, which answers",
        )
    check_vocabulary(tokenizer, where)
    if tokenizer.eos_token is None:
        raise UserError(
            f"a tokenizer without an end token in {where}",
            expected="eos_token in its tokenizer_config.json: answers have to end",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    if prints_date(tokenizer):
        # What is learnt and measured tomorrow is what was today.
        tokenizer.own_chat_template = tokenizer.chat_template
        tokenizer.chat_template = dated(tokenizer.get_chat_template(), TODAY)
    return tokenizer


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write one of `read_tokenizer` as its base has it: at work it prints the date of the day."""
    fixed = tokenizer.chat_template
    tokenizer.chat_template = getattr(tokenizer, "own_chat_template", fixed)
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.chat_template = fixed


def load_weights(place: Place, *, dtype: torch.dtype, **kwargs: Any) -> Any:
    """The model of a place's base.

    Raises:
        UserError: weights that cannot be read.
    """
    try:
        with quiet():
            return AutoModelForCausalLM.from_pretrained(
                place.base, dtype=dtype, trust_remote_code=False, **kwargs
            )
    except (*UNREADABLE, ImportError) as error:
        raise _unusable(place, error) from None


def open_policy(place: Place, *, device: str | None = None) -> Policy:
    """Load a policy to answer and to be measured.

    Raises:
        UserError: what cannot be loaded, in words.
    """
    where = checked_device(device)
    tokenizer = read_tokenizer(place)
    model = load_weights(place, dtype=best_dtype(where))
    prefix = None
    if place.adapter is not None:
        kind = (read_object(place.adapter / "adapter_config.json") or {}).get("peft_type")
        if kind in ("PROMPT_TUNING", "P_TUNING"):
            prefix = read_tokens(place.adapter, model.config.hidden_size).to(where)
        else:
            model = _adapted(model, place)
    return Policy(place, model.to(where).eval(), tokenizer, Frame(tokenizer), prefix)


def _adapted(model: Any, place: Place) -> Any:
    require("an adapter", "rlhf", "peft")
    from peft import PeftModel

    try:
        with quiet():
            return PeftModel.from_pretrained(model, str(place.adapter)).merge_and_unload()
    except (*UNREADABLE, ImportError) as error:
        raise UserError(
            f"an adapter that does not fit {place.base} ({first_line(error)})",
            expected="the model it was trained on",
            path=place.adapter,
        ) from None


def is_tensor(place: str) -> bool:
    """A file or folder of virtual tokens, not a text.

    >>> is_tensor("embeddings.pt"), is_tensor("Be honest.")
    (True, False)
    """
    return place.endswith((".pt", ".safetensors")) or Path(place[:255]).is_dir()


def read_tokens(place: str | Path, width: int) -> Tensor:
    """Virtual tokens (n, H) of a `.pt` or `.safetensors` file, or of an adapter.

    Args:
        place: the file or folder; of a `.pt` only tensors are read, no code is run.
        width: H of the policy.

    Raises:
        UserError: no such file, no single tensor in it, or of another width.
    """
    path = Path(place)
    where: dict[str, Any] = {"path": path}
    if path.is_dir():
        path = path / "adapter_model.safetensors"
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError("no such file", expected="virtual tokens", **where) from None
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise UserError(
            f"no tensors that can be read ({first_line(error)})",
            expected="a tensor [n, H] that torch.save or safetensors wrote",
            **where,
        ) from None
    except Exception:  # pickle's own errors: something else than tensors
        raise UserError(
            "more than tensors, which could be code",
            expected="a tensor [n, H] that torch.save or safetensors wrote",
            **where,
        ) from None
    if isinstance(found, dict):
        tensors = [v for v in found.values() if isinstance(v, Tensor)]
        found = found.get(_TOKENS, tensors[0] if len(tensors) == 1 else None)
    if not isinstance(found, Tensor) or found.dim() != 2 or not found.is_floating_point():
        raise UserError("no single tensor [n, H]", expected=f"virtual tokens [n, {width}]", **where)
    if found.size(1) != width or not len(found):
        raise UserError(
            f"a tensor {list(found.shape)}", expected=f"virtual tokens [n, {width}]", **where
        )
    if not torch.isfinite(found).all():
        raise UserError("virtual tokens that are no numbers", expected="finite ones", **where)
    return found.float()


def _unusable(place: Place, error: Exception) -> UserError:
    return UserError(
        f"no usable policy at {place.named!r} ({first_line(error)})",
        expected="a causal language model that transformers can load without code of its own",
        mend="check the folder, and the network if it is a hub id",
    )
