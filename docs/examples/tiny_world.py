"""A reward model and a policy of a few words, for the examples of this folder.

Both are made in seconds on a CPU: the reward model by this package's own training, from pairs whose
levels follow from their words; the policy with random weights, so it begins by talking nonsense.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from reward_model import RewardScorer, load_rubric
from reward_model.cli.commands import app
from reward_model.train import train
from reward_model.train.config import resolve

GOOD = ["because", "therefore", "driven", "risk", "margin"]
FLAT = ["maybe", "some", "thing", "good", "nice"]
PROMPTS = [f"report {name} :" for name in ("alpha", "beta", "gamma", "delta")]
WORDS = sorted({*GOOD, *FLAT, *" ".join(PROMPTS).split()})


def reward_model(folder: Path, *, seed: int = 0) -> Path:
    """Train a reward model on pairs whose levels are shares of good words; give its folder."""
    rng = random.Random(f"pairs:{seed}")
    rubric = load_rubric("financial_report")
    rows = []
    for i in range(60):
        levels = {"chosen": rng.randint(2, rubric.scale), "rejected": rng.randint(0, 2)}
        rows.append(
            {
                "id": f"pair-{i}",
                # Its number makes it the company's own: what shares a prompt is never divided.
                "prompt": f"{rng.choice(PROMPTS)} {i % 12}",
                **{side: _text(level / rubric.scale, rng) for side, level in levels.items()},
                "metadata": {"prompt_id": f"company-{i % 12}"},
                "scores": {s: dict.fromkeys(rubric.names, lv) for s, lv in levels.items()},
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    pairs = folder / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    flags = {"base_model": "tiny", "epochs": 6.0, "max_length": 64, "max_prompt_length": 32}
    return train(resolve(pairs, folder / "reward", None, flags | {"seed": seed}))


def _text(share: float, rng: random.Random) -> str:
    return " ".join(rng.choice(GOOD if rng.random() < share else FLAT) for _ in range(12))


def tokenizer() -> Any:
    """A token a word."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.decoder = decoders.WordPiece()  # a space between words, from a folder too
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )


def policy(*, seed: int = 0) -> Any:
    """A Llama of two thin layers with random weights."""
    torch.manual_seed(seed)
    words = tokenizer()
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            pad_token_id=words.pad_token_id,
            eos_token_id=words.eos_token_id,
            bos_token_id=None,
        )
    )


def saved_policy(folder: Path) -> Path:
    """`policy()` with its tokenizer as transformers writes them; their folder."""
    policy().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_prompts(path: Path) -> Path:
    """The prompts, a row each."""
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS), "utf-8")
    return path


def command(*words: object) -> None:
    """Show a command and run it in this process, where the libraries are loaded already."""
    print("$", *words)
    program, *rest = map(str, words)
    assert program == "reward-model"
    code = app(rest, standalone_mode=False)
    assert not code, code


@torch.no_grad()
def answers(model: Any, *, count: int = 16, length: int = 12) -> tuple[list[str], list[str]]:
    """Prompts, and what a policy answers to each of them `count` times."""
    words = tokenizer()
    torch.manual_seed(0)
    batch = words(PROMPTS * count, return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    ids = model.generate(**batch, do_sample=True, top_k=0, max_new_tokens=length)
    said = words.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return PROMPTS * count, said


def mean_reward(model: Any, reward: Path) -> float:
    """What a policy, or one in a folder, earns on average; an answer of no words earns nothing."""
    if isinstance(model, Path):
        model = LlamaForCausalLM.from_pretrained(model)
    scores = RewardScorer.from_pretrained(reward, device="cpu").score_batch(*answers(model))
    return sum(score.reward or 0.0 for score in scores) / len(scores)
