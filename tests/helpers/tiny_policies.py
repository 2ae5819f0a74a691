"""Tiny policies for tests: a Qwen2 of random weights that reads bytes, with or without a chat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_models import byte_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def policy_tokenizer(*, chat: bool = True) -> Any:
    """A token a byte, and the marks of ChatML."""
    tokenizer = byte_tokenizer(
        ["<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        pad_token="<pad>",
        eos_token="<|im_end|>" if chat else "<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        padding_side="left",
    )
    if chat:
        tokenizer.chat_template = CHATML
    return tokenizer


def save_policy(
    folder: Path, *, chat: bool = True, seed: int = 0, hidden: int = 32, spread: float = 0.2
) -> Path:
    """Write one as transformers would."""
    torch.manual_seed(seed)
    tokenizer = policy_tokenizer(chat=chat)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=2 * hidden,
            max_position_embeddings=4096,
            initializer_range=spread,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
