"""What works on which decoder: tiny ones are made in place and taken through every use.

    python docs/examples/backbones.py

prints the table of docs/backbones.md. A base is two thin layers with random weights, saved as
transformers saves a language model, with a tokenizer and chat template as its family brings them.
Every cell does what it names and compares numbers; one that fails ends the run with its error.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipVisionConfig,
)

from reward_model import RewardScorer, load_rubric
from reward_model.model.adapter import load_adapter, merge
from reward_model.model.backbone import unread
from reward_model.model.batches import collate
from reward_model.model.folder import load_bundle
from reward_model.records import UserError
from reward_model.score.export.run import ExportOptions, run_export
from reward_model.train import train
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.prepare import prepare

CLOSE = 1e-5
"""Of float32 in another order of sums; of a chance of a level."""
HALF = 0.05
"""Of bfloat16, which has 8 bits."""
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
WINDOW = 16
"""Tokens that a layer with a sliding window sees: fewer than any text here has."""
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}"
)


def tokenizer(template: str, marks: list[str], **names: Any) -> Any:
    """A token a byte, and the marks of a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(alphabet)}, merges=[]))
    core.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if bos := names.get("bos_token"):
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, core.token_to_id(bos))],
        )
    made = PreTrainedTokenizerFast(tokenizer_object=core, padding_side="left", **names)
    made.chat_template = template
    return made


def _ids(words: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(words),
        **{f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos")},
        "pad_token_id": words.pad_token_id,
    }


def _qwen() -> Any:
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return tokenizer(CHATML, marks, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def qwen3() -> tuple[Any, Any]:
    """Norms of queries and keys, no first token, a padding token of its own."""
    words = _qwen()
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, **_ids(words), tie_word_embeddings=True)), words


def qwen3_5() -> tuple[Any, Any]:
    """Every other layer is a recurrence, which a token of padding would change."""
    words = _qwen()
    known = Qwen3_5TextConfig(
        **SIZES,
        **_ids(words),
        layer_types=["linear_attention", "full_attention"],
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
    )
    return Qwen3_5ForCausalLM(known), words


def llama() -> tuple[Any, Any]:
    """No padding token at all, as Llama 3 comes."""
    marks = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    words = tokenizer(LLAMA, marks, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")
    return LlamaForCausalLM(LlamaConfig(**SIZES, **_ids(words))), words


def _gemma() -> Any:
    marks = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    names = {name: f"<{name[:3]}>" for name in ("pad_token", "eos_token", "bos_token")}
    return tokenizer(GEMMA, marks, **names)


def _in_windows(words: Any) -> dict[str, Any]:
    kinds = ["sliding_attention", "full_attention"]
    seen = {"sliding_window": WINDOW, "layer_types": kinds, "query_pre_attn_scalar": 16}
    return {**SIZES, **_ids(words), **seen}


def gemma2() -> tuple[Any, Any]:
    """Every other layer sees a window, and attention is capped, which `sdpa` cannot."""
    words = _gemma()
    caps = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 30.0}
    return Gemma2ForCausalLM(Gemma2Config(**_in_windows(words), **caps)), words


def gemma3() -> tuple[Any, Any]:
    """Windows, norms of queries and keys, and angles of two kinds."""
    words = _gemma()
    return Gemma3ForCausalLM(Gemma3TextConfig(**_in_windows(words))), words


def gemma3_images() -> tuple[Any, Any]:
    """From 4 billion weights on: the language model stands beside one that reads images."""
    words = _gemma()
    vision = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=28,
        patch_size=14,
    )
    text = Gemma3TextConfig(**_in_windows(words))
    known = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(known), words


BASES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "Qwen3": qwen3,
    "Qwen3.5": qwen3_5,
    "Llama": llama,
    "Gemma 2": gemma2,
    "Gemma 3, 1B": gemma3,
    "Gemma 3, larger": gemma3_images,
}
GOOD = ["because", "therefore", "driven", "风险"]
FLAT = ["maybe", "some", "thing", "不错"]
PROMPT = "Assess the margins that the statements of the company show. 评估这家公司的毛利率。"


def write_pairs(path: Path, count: int = 16) -> Path:
    """Scored pairs whose levels follow from their words."""
    rubric, rng = load_rubric("financial_report"), random.Random("pairs")
    rows = []
    for i in range(count):
        levels = {"chosen": rng.randint(2, rubric.scale), "rejected": rng.randint(0, 2)}
        texts = {
            side: " ".join(
                rng.choice(GOOD if rng.random() * rubric.scale < level else FLAT) for _ in range(8)
            )
            for side, level in levels.items()
        }
        rows.append(
            {
                "id": f"pair-{i}",
                "prompt": f"Report {i % 8}",
                **texts,
                "metadata": {"prompt_id": f"company-{i % 8}"},
                "scores": {s: dict.fromkeys(rubric.names, level) for s, level in levels.items()},
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@dataclass
class Workshop:
    """One base and what was trained from it, made once when a cell first asks."""

    name: str
    folder: Path
    texts: list[str] = field(default_factory=lambda: ["ok", "收入增长。", *_drawn(5)])

    @cached_property
    def base(self) -> Path:
        """The language model as its family is downloaded."""
        torch.manual_seed(0)
        model, words = BASES[self.name]()
        model.save_pretrained(self.folder / "base")
        words.save_pretrained(self.folder / "base")
        return self.folder / "base"

    @cached_property
    def pairs(self) -> Path:
        """Scored pairs."""
        return write_pairs(self.folder / "pairs.jsonl")

    def settings(self, out: str, **flags: Any) -> TrainConfig:
        """Of a run in `out`, of few steps at a rate that random weights stand."""
        quick = {
            "base_model": str(self.base),
            "max_length": 320,
            "epochs": 2.0,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "eval_share": 0.25,
            "test_share": 0.0,
            "best_metric": "loss",
            "logging_steps": 1,
            "probe": False,
            "head_type": "linear",
        }
        return resolve(self.pairs, self.folder / out, None, quick | flags)

    def train(self, out: str, **flags: Any) -> Path:
        """Train in `out`; `best/`."""
        return train(self.settings(out, **flags))

    @cached_property
    def best(self) -> Path:
        """A model all of whose weights were trained."""
        return self.train("full")

    @cached_property
    def scorer(self) -> RewardScorer:
        """Of it, in batches that hold some of the texts."""
        return RewardScorer.from_pretrained(self.best, device="cpu", batch_tokens=512)

    @cached_property
    def gradients(self) -> dict[str, Any]:
        """Weight -> its gradient of one batch, as training is by default."""
        return gradients(self)

    def chances(self, scorer: RewardScorer | None = None) -> torch.Tensor:
        """(texts, D, K): the chance of each level of every text, in one call."""
        scores = (scorer or self.scorer).score_batch([PROMPT] * len(self.texts), self.texts)
        return torch.tensor([list(score.probabilities.values()) for score in scores])


def _drawn(count: int) -> list[str]:
    rng = random.Random("texts")
    return [" ".join(rng.choices(GOOD + FLAT, k=4 + 2 * i)) for i in range(count)]


def _same(found: Any, wanted: Any, within: float = CLOSE) -> None:
    torch.testing.assert_close(found, wanted, atol=within, rtol=0, check_dtype=False)


def full_training(shop: Workshop) -> str:
    """All weights that read texts move, and the loss falls."""
    base = AutoModel.from_pretrained(shop.base, dtype=torch.float32)
    before, idle = base.state_dict(), tuple(unread(base))
    still = [
        name
        for name, weight in load_bundle(shop.best).model.backbone.state_dict().items()
        if torch.equal(before[name], weight) and not (idle and name.startswith(idle))
    ]
    assert not still, f"not trained: {still}"
    last = max((shop.folder / "full" / "checkpoints").iterdir(), key=_step)
    logged = json.loads((last / "trainer_state.json").read_text("utf-8"))["log_history"]
    losses = [row["loss"] for row in logged if "loss" in row]
    epoch = len(losses) // 2
    assert sum(losses[epoch:]) < sum(losses[:epoch]), losses
    return "yes"


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def gradients(shop: Workshop, **flags: Any) -> dict[str, Any]:
    """Weight -> its gradient of one batch, of all that train."""
    model: Any = prepare(shop.settings("gradients", **flags)).model
    if flags.get("gradient_checkpointing"):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    batch = collate([shop.scorer.encode(PROMPT, text) for text in shop.texts], 0)
    labels = torch.zeros((len(shop.texts), len(shop.scorer.dimensions)), dtype=torch.long)
    torch.manual_seed(0)
    model.train()(**batch, labels=labels).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def checkpointing(shop: Workshop) -> str:
    """Gradient checkpointing: the same gradients, for less memory."""
    found = gradients(shop, gradient_checkpointing=True)
    for name, gradient in shop.gradients.items():
        _same(found[name], gradient)
    return "yes"


def several_devices(shop: Workshop) -> str:
    """No weight that trains is without a gradient: processes would wait for it."""
    for found in (shop.gradients, gradients(shop, lora_rank=4)):
        idle = [name for name, one in found.items() if one is None]
        assert not idle, idle
    return "yes"


def attention(shop: Workshop) -> str:
    """What `attention` may be; whichever runs, the gradients are the same."""
    wanted = gradients(shop, attention="eager")
    for name, gradient in shop.gradients.items():
        _same(gradient, wanted[name], 1e-4)
    if load_bundle(shop.best).model.backbone.config._attn_implementation == "sdpa":
        return "sdpa, eager"
    try:
        gradients(shop, attention="sdpa")
    except UserError as error:
        return "eager" if "attention 'sdpa'" in error.found else str(error)
    return "eager, though sdpa was not refused"


def lora(shop: Workshop) -> str:
    """The adapter beside its base scores as the merged model does."""
    best = shop.train("lora", lora_rank=4, learning_rate=1e-2)
    adapted = load_adapter(shop.folder / "lora" / "adapter")
    merged, whole = merge(adapted), load_bundle(best).model
    for name, weight in whole.state_dict().items():
        _same(merged.state_dict()[name], weight)
    base = AutoModel.from_pretrained(shop.base, dtype=torch.float32)
    moved = [
        name
        for name, weight in whole.backbone.state_dict().items()
        if not torch.equal(weight, base.state_dict()[name])
    ]
    assert moved, "the adapter changes nothing"
    return "yes"


def scoring(shop: Workshop) -> str:
    """As the backbone of transformers alone, with the heads on its last token."""
    reference = AutoModel.from_pretrained(
        shop.base, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    bundle = load_bundle(shop.best)
    reference.load_state_dict(bundle.model.backbone.state_dict())
    wanted = []
    for text in shop.texts:
        ids = torch.tensor([shop.scorer.encode(PROMPT, text).input_ids])
        with torch.no_grad():
            last = reference(input_ids=ids).last_hidden_state[:, -1]
            wanted.append(bundle.model.score_pooled(last).softmax(-1))
    _same(shop.chances(), torch.cat(wanted))
    assert shop.chances().std(0).max() > 1e-3, "all texts score the same"
    return "yes"


def batches(shop: Workshop) -> str:
    """A score depends on its own text alone."""
    alone = [list(shop.scorer.score(PROMPT, t).probabilities.values()) for t in shop.texts]
    _same(shop.chances(), torch.tensor(alone))
    return "yes"


def padding(shop: Workshop) -> str:
    """Padding on the left, on the right, or none: the same logits."""
    model = shop.scorer.model
    encoded = [shop.scorer.encode(PROMPT, text) for text in shop.texts]
    right = collate(encoded, 0)
    width = right["input_ids"].shape[1]
    left = {name: torch.zeros_like(value) for name, value in right.items()}
    for i, one in enumerate(encoded):
        left["input_ids"][i, width - len(one.input_ids) :] = torch.tensor(one.input_ids)
        left["attention_mask"][i, width - len(one.input_ids) :] = 1
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([one.input_ids])).logits for one in encoded]
        for batch in (left, right):
            _same(model(**batch).logits, torch.cat(alone), 1e-4)
    return "yes"


def shared_prompts(shop: Workshop) -> str:
    """Responses to one prompt: how many tokens are read, beside their sum."""
    read = 0

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        nonlocal read
        mask = given.get("attention_mask")
        read += int(given["input_ids"].numel() if mask is None else mask.sum())

    hook = shop.scorer.model.register_forward_pre_hook(count, with_kwargs=True)
    shop.chances()
    hook.remove()
    total = sum(len(shop.scorer.encode(PROMPT, text).input_ids) for text in shop.texts)
    return "read once" if read < total else "read for each"


def exact_export(shop: Workshop) -> str:
    """`*ForSequenceClassification` gives the logits of the heads."""
    out = shop.folder / "classifier"
    result = run_export(shop.best, out, ExportOptions("sequence-classification"))
    assert result["parity"]["equal"], result["parity"]
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(out).eval()
    words = AutoTokenizer.from_pretrained(out)
    encoded = [shop.scorer.encode(PROMPT, text) for text in shop.texts]
    with torch.no_grad():
        logits = theirs(**collate(encoded, words.pad_token_id)).logits
    found = shop.chances()
    _same(logits.unflatten(1, found.shape[1:]).softmax(-1), found)
    return "yes"


def scalar_export(shop: Workshop) -> str:
    """One number a text, as TRL's trainers read it from a model: `logits[:, 0]`."""
    out = shop.folder / "scalar"
    result = run_export(shop.best, out, ExportOptions("scalar", data=shop.pairs))
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(out, num_labels=1).eval()
    words = AutoTokenizer.from_pretrained(out)
    assert words.pad_token_id is not None, "no batch can be padded"
    encoded = [shop.scorer.encode(PROMPT, text) for text in shop.texts]
    with torch.no_grad():
        both = theirs(**collate(encoded, words.pad_token_id)).logits[:, 0]
        first = theirs(input_ids=torch.tensor([encoded[0].input_ids])).logits[:, 0]
    _same(both[:1], first, 1e-4)
    assert result["fidelity"], result
    return "yes"


def resume(shop: Workshop) -> str:
    """What a kill after the first epoch leaves goes on to the same weights."""
    whole = load_file(shop.best / "model.safetensors")
    out = shop.folder / "cut"
    shutil.copytree(shop.folder / "full", out)
    for late in sorted((out / "checkpoints").iterdir(), key=_step)[1:]:
        shutil.rmtree(late)
    shutil.rmtree(out / "best")
    (out / "metrics.json").unlink()
    again = load_file(shop.train("cut") / "model.safetensors")
    for name, weight in whole.items():
        _same(again[name], weight)
    return "yes"


def bfloat16(shop: Workshop) -> str:
    """The backbone in half precision, heads in float32."""
    half = RewardScorer.from_pretrained(shop.best, device="cpu", dtype=torch.bfloat16)
    _same(shop.chances(half), shop.chances(), HALF)
    return "yes"


def four_bits(shop: Workshop) -> str:
    """QLoRA: trained on 4-bit weights; loaded and merged it scores as it was trained."""
    best = shop.train("qlora", lora_rank=4, load_in_4bit=True, precision="fp32", epochs=1.0)
    merged = merge(load_adapter(shop.folder / "qlora" / "adapter"))
    for name, weight in load_bundle(best).model.state_dict().items():
        _same(merged.state_dict()[name], weight)
    return "yes"


CELLS: dict[str, Callable[[Workshop], str]] = {
    "all weights trained": full_training,
    "LoRA, merged": lora,
    "QLoRA in 4 bits, merged": four_bits,
    "trained on several devices": several_devices,
    "gradient checkpointing": checkpointing,
    "`attention`": attention,
    "killed and resumed": resume,
    "scores as transformers' own backbone": scoring,
    "the same score in any batch": batches,
    "padding on either side": padding,
    "a prompt that responses share": shared_prompts,
    "scored in bfloat16": bfloat16,
    "`export --to sequence-classification`": exact_export,
    "`export --to scalar`, for TRL": scalar_export,
}


def column(name: str) -> dict[str, str]:
    """Row -> what its cell says of one base; `no` where the package refuses, with its words."""
    cells = {}
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(name, Path(folder))
        for what, does in CELLS.items():
            try:
                cells[what] = does(shop)
            except UserError as error:
                cells[what] = f"no: {error.found}"
    return cells


def table(columns: dict[str, dict[str, str]]) -> str:
    """Base -> its column, as Markdown."""
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for what in CELLS:
        lines.append(f"| {what} | {' | '.join(cells[what] for cells in columns.values())} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    print(table({name: column(name) for name in BASES}))


if __name__ == "__main__":
    main()
