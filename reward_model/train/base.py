"""The base model of a run: a local folder, a hub id, or a tiny encoder built from the texts.

`find_base(config, samples)` says in words what is wrong with a name before anything is written.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoTokenizer,
    BitsAndBytesConfig,
)

from reward_model.checks import evidence
from reward_model.data.dataset import Sample
from reward_model.data.tokens.wrapping import InputFormat
from reward_model.model.backbone import freeze_unread
from reward_model.model.folder import Bundle, load_bundle
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.model.packed import OVER_ALL, Pooling
from reward_model.model.quiet import check_fetched, check_vocabulary, model_type, quiet
from reward_model.records import UserError, as_text, is_folder, is_there, read_object
from reward_model.records.errors import first_line
from reward_model.records.hub import check_there, is_hub_id
from reward_model.rubrics import Rubric
from reward_model.train.config import TINY, TrainConfig
from reward_model.train.machine import compute_dtype
from reward_model.train.tiny import POOLING, WIDTH, build_tiny

EVIDENCE_OF = 200
"""Training texts, about, whose evidence a tiny tokenizer learns: its words are always the same."""


@dataclass(frozen=True)
class Base:
    """A backbone to start from."""

    name_or_path: str
    tokenizer: Any
    pooling: Pooling
    """What suits it."""
    trained: Bundle | None = None
    """A reward model that is gone on with."""

    @property
    def input_format(self) -> InputFormat | None:
        """How texts are joined; None: as suits the tokenizer."""
        return None if self.trained is None else self.trained.model.config.input_format

    def model(self, config: MultiDimRewardConfig, settings: TrainConfig) -> MultiDimRewardModel:
        """The backbone with fresh heads, which draw from torch's global generator.

        Heads of a trained model are taken over where they fit.
        """
        if self.trained is not None:
            config.backbone_config = self.trained.model.config.backbone_config
            going_on = MultiDimRewardModel(config, backbone=self.trained.model.backbone)
            freeze_unread(going_on.backbone)
            for i, source in enumerate(_heads_of(self.trained.model, config)):
                if source is not None:
                    going_on.heads[i].load_state_dict(self.trained.model.heads[source].state_dict())
            return going_on
        kwargs: dict[str, Any] = {"backbone_dropout": settings.backbone_dropout}
        if settings.attention is not None:
            kwargs["attn_implementation"] = settings.attention
        if settings.trust_remote_code:
            kwargs["trust_remote_code"] = True
        if settings.load_in_4bit:
            # What is not quantised (embeddings, norms) is frozen too and need not be float32.
            kwargs["dtype"] = compute_dtype(settings)
            kwargs["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=kwargs["dtype"],
            )
        try:
            with quiet():
                model = MultiDimRewardModel.from_backbone(self.name_or_path, config, **kwargs)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            if settings.attention is not None and "attention implementation" in str(error):
                raise _no_attention(settings.attention, self.name_or_path) from None
            raise _unusable(self.name_or_path, error) from None
        freeze_unread(model.backbone)
        # Who trusted the base's code need not be the one who loads the trained model.
        vars(config.backbone_config).pop("auto_map", None)
        return model


@contextlib.contextmanager
def find_base(
    config: TrainConfig, train: Sequence[Sample], checkpoint: Path | None = None
) -> Iterator[Base]:
    """The base model of a run, checked against its settings; a tiny one lives as long as the block.

    Args:
        config: of the run.
        train: texts that a tiny one is built from.
        checkpoint: that the run goes on from; a tiny one has its tokenizer, width and pooling.

    Raises:
        UserError: no such model, one that cannot be used here, or too few positions.
    """
    if config.init is not None:
        yield _open_trained(config.init, config)
    elif config.base_model == TINY:
        with tempfile.TemporaryDirectory(prefix="tiny-") as folder:
            with quiet():
                known = None if checkpoint is None else AutoTokenizer.from_pretrained(checkpoint)
            before = (read_object(checkpoint / "config.json") if checkpoint else None) or {}
            width = before.get("backbone_config", {}).get("hidden_size", WIDTH)
            texts = _texts(train, config)
            try:
                build_tiny(texts, folder, tokenizer=known, width=width, positions=config.max_length)
            except (OSError, SafetensorError) as error:
                raise UserError(
                    f"a temporary folder that cannot be written to ({first_line(error)})",
                    expected="room for a tiny base model, a few megabytes",
                    mend="free some space there, or name another with TMPDIR",
                    path=folder,
                ) from None
            yield replace(_open(folder, config), pooling=before.get("pooling", POOLING))
    else:
        yield _open(config.base_model, config)


def _open(name: str, config: TrainConfig) -> Base:
    path = Path(name)
    if is_there(path) and not is_folder(path):
        raise UserError("a file", expected="the folder of a model", path=path)
    if not is_there(path) and not is_hub_id(name):
        raise UserError(
            f"no model folder {name!r}",
            expected="a local folder, a hub id such as jhu-clsp/mmBERT-base, or 'tiny'",
            mend="check --base-model",
        )
    check_there(name)
    check_fetched(path)
    if model_type(path) == MultiDimRewardConfig.model_type:
        raise UserError(
            f"a trained reward model in {name}",
            expected="a plain encoder or decoder as --base-model",
            mend="go on from it with --init, or name the base model it was trained from (its "
            "README.md says)",
        )
    try:
        with quiet():
            # Said outright: left open, transformers asks whoever sits at the terminal.
            trust = config.trust_remote_code
            known = AutoConfig.from_pretrained(name, trust_remote_code=trust)
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _unusable(name, error) from None
    check_vocabulary(tokenizer, name)
    if known.is_encoder_decoder:
        raise UserError(f"an encoder-decoder model in {name}", expected="an encoder or a decoder")
    pooling = suited_pooling(known)
    _check_reads(name, known, tokenizer, pooling, config)
    return Base(name, tokenizer, pooling)


def _open_trained(folder: Path, config: TrainConfig) -> Base:
    """A reward model of this package, in float32 as a base model is."""
    kwargs = {"attn_implementation": config.attention} if config.attention else {}
    bundle = load_bundle(folder, dtype=torch.float32, **kwargs)
    known: Any = bundle.model.config
    _check_reads(str(folder), known.backbone_config, bundle.tokenizer, known.pooling, config)
    return Base(str(folder), bundle.tokenizer, known.pooling, bundle)


def _heads_of(trained: MultiDimRewardModel, new: MultiDimRewardConfig) -> list[int | None]:
    """For each head of a new model, the head of an old one that says the same, if there is any."""
    old: Any = trained.config
    shape = ("num_levels", "head", "head_type", "head_width")
    alike = all(getattr(old, name) == getattr(new, name) for name in shape)
    if new.head == "shared":
        return [0 if alike and old.dimensions == new.dimensions else None]
    places = {
        name: i
        for i, name in enumerate(old.dimensions)
        if name not in old.untrained and (name in old.length_heads) == (name in new.length_heads)
    }
    return [places.get(name) if alike else None for name in new.dimensions]


def length_heads(
    base: Base, config: TrainConfig, rubric: Rubric, untrained: Sequence[str]
) -> list[str]:
    """Dimensions whose heads read how long the response is.

    Raises:
        UserError: the settings name others than those of the rubric, or there is one head for all.
    """
    if config.length_heads is not None:
        if unknown := sorted(set(config.length_heads) - set(rubric.names)):
            raise UserError(
                f"length_heads with {', '.join(unknown)}",
                expected="dimensions of the rubric: " + ", ".join(rubric.names),
            )
        if config.length_heads and config.head != "multi":
            raise UserError(
                "length_heads, and one head for all dimensions",
                expected='head = "multi", the default',
            )
        return config.length_heads
    if base.trained is not None:  # as they were, for those dimensions that are still there
        known: Any = base.trained.model.config
        return [name for name in rubric.names if name in known.length_heads]
    pooling = config.pooling or base.pooling
    if pooling not in OVER_ALL or (config.head, config.head_type) != ("multi", "mlp"):
        return []
    return [name for name in rubric.names if not rubric.weights[name] and name not in untrained]


def fresh_heads(base: Base, config: MultiDimRewardConfig) -> list[str]:
    """Dimensions whose heads begin at random although the run goes on from a trained model."""
    if base.trained is None:
        return []
    sources = _heads_of(base.trained.model, config)
    if config.head == "shared":
        sources = sources * len(config.dimensions)
    return [n for n, source in zip(config.dimensions, sources, strict=True) if source is None]


def _check_reads(
    name: str, known: Any, tokenizer: Any, pooling: Pooling, config: TrainConfig
) -> None:
    """See that the backbone can read texts as long as the settings say.

    Raises:
        UserError: too few positions, or windows with a pooling that reads one of them.
    """
    positions = positions_of(known, tokenizer)
    reads = min(config.max_length, config.window or config.max_length)
    if positions is not None and reads > positions:
        what = "max_length" if config.window is None else "window"
        raise UserError(
            f"{what} {reads} for {name}, which has {positions} positions",
            expected=f"at most {positions}",
            mend=f"pass --max-length {positions}; or --window {positions} to read longer texts in "
            "parts; or a base model that reads longer texts",
        )
    if config.window and (config.pooling or pooling) not in OVER_ALL:
        raise UserError(
            f"window {config.window} with {config.pooling or pooling} pooling",
            expected="a pooling that reads all of the windows: mean or rms",
            mend="add --pooling mean, or leave out --window",
        )


def suited_pooling(known: Any) -> Pooling:
    """How to pool a backbone of this configuration: only a decoder's last token has read it all."""
    kind = type(known)
    decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING
    return "last" if decoder else "mean"


def positions_of(known: Any, tokenizer: Any) -> int | None:
    """Longest text the backbone can read; None where its positions are relative."""
    backbone = known.get_text_config()
    if getattr(backbone, "relative_attention", False):
        return None
    table = getattr(backbone, "max_position_embeddings", None)
    # RoBERTa counts positions from its padding index on, so two of them are never used.
    if isinstance(table, int) and backbone.model_type in {"roberta", "xlm-roberta", "camembert"}:
        table -= 2
    limits = [table, getattr(tokenizer, "model_max_length", None)]
    real = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 10**9]
    return min(real) if real else None


def _no_attention(asked: str, name: str) -> UserError:
    return UserError(
        f"attention {asked!r} for {name}, whose class in transformers does not have it",
        expected="one that it has, such as eager",
        mend="leave attention out: transformers chooses what gives the right numbers",
    )


def _unusable(name: str, error: Exception) -> UserError:
    if "custom code" in str(error):
        return UserError(
            f"a base model in {name} that comes with code of its own",
            expected="one that transformers has, or your word that its code may run",
            mend="read that code, then set trust_remote_code = true",
        )
    # Without the library, transformers takes spm.model and its like for files of tiktoken.
    if re.search(r"\.model\b|sentencepiece", str(error)) and find_spec("sentencepiece") is None:
        return UserError(
            f"a tokenizer in {name} that only sentencepiece reads, which is not installed",
            expected="a tokenizer.json, or that library",
            mend="pip install sentencepiece",
        )
    return UserError(
        f"no usable model at {name!r} ({first_line(error)})",
        expected="the folder or hub id of an encoder or decoder that transformers can load",
        mend="check --base-model, and the network if it is a hub id",
    )


def _texts(train: Sequence[Sample], config: TrainConfig) -> Iterator[str]:
    """Training texts alone: what is held out must not shape the vocabulary either."""
    prompts: set[str] = set()
    each = max(1, len(train) // EVIDENCE_OF) if config.evidence == "checks" else 0
    for row, sample in enumerate(train):
        yield as_text(sample.response)
        if each and row % each == 0:
            yield evidence(as_text(sample.prompt), as_text(sample.response))
        prompt = as_text(sample.prompt)
        if config.max_prompt_length != 0 and prompt not in prompts:
            prompts.add(prompt)
            yield prompt[: 8 * config.max_length]
