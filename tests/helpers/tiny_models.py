"""Tiny real models for tests: random weights, a byte tokenizer, saved and loaded as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

from reward_model.model.folder import save_bundle
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.rubrics import Rubric, load_rubric


def byte_tokenizer(specials: list[str], template: str = "", **names: Any) -> Any:
    """A token a byte: every text of every language, nothing to train."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair=template,
            special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def encoder_tokenizer() -> Any:
    """Bytes between the marks that a BERT reads pairs with."""
    return byte_tokenizer(
        ["[PAD]", "[CLS]", "[SEP]"],
        "[CLS] $A [SEP] $B:1 [SEP]:1",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def save_encoder(
    folder: Path, *, rubric: Rubric | None = None, seed: int = 0, **config: Any
) -> Path:
    """A BERT of two thin layers with 512 positions."""
    torch.manual_seed(seed)
    tokenizer = encoder_tokenizer()
    backbone = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.2,
        ),
        add_pooling_layer=False,
    )
    return _save(folder, backbone, tokenizer, rubric, **config)


def save_decoder(
    folder: Path, *, rubric: Rubric | None = None, seed: int = 0, **config: Any
) -> Path:
    """A Qwen2 of two thin layers whose padding token is its end-of-text token."""
    torch.manual_seed(seed)
    tokenizer = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    backbone = Qwen2Model(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=64,
            initializer_range=0.2,
        )
    )
    return _save(
        folder,
        backbone,
        tokenizer,
        rubric,
        **({"pooling": "last", "input_format": "plain"} | config),
    )


def _save(
    folder: Path, backbone: Any, tokenizer: Any, rubric: Rubric | None, **config: Any
) -> Path:
    rubric = rubric or load_rubric("financial_report")
    settings = MultiDimRewardConfig.for_rubric(
        rubric, **({"max_input_length": 256, "backbone_config": backbone.config} | config)
    )
    model = MultiDimRewardModel(settings, backbone=backbone)
    with torch.no_grad():
        for head in model.heads:  # fresh heads say almost nothing; spread them so tests can tell
            head.out.weight.mul_(8)
    save_bundle(model, tokenizer, rubric, folder)
    return folder
