"""Training throughput beside TRL's RewardTrainer and a plain transformers Trainer, in one run.

    python benchmarks/training.py [--base FOLDER] [--steps 6] [--width 768] [--json FILE]

All three train the same backbone, as wide as BERT-base, on the same texts once, in steps of as many
texts, without dropout, in the same precision, each in a process of its own; counted are tokens of
content, not padding, a second, after one step to warm up. Right before every step dense matrix
products are timed in the same process (`Dense`), so that the share of them does not hang on what
else the machine does. The texts are those of $REWARD_TEST_DATA, else of ../shared/data beside the
repository. The peers take a step in pieces of `--peer-batch` texts, which suits them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from encoder import minilm

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("REWARD_TEST_DATA", ROOT.parent / "shared" / "data"))
FILES = ("finreport_pairs_0to4", "helpsteer_pairs", "zh_pairs", "human_prefs")
STEP = 32
"""Texts of an optimiser step."""
WARM_UP = 1
"""Steps whose time does not count."""


def pairs(count: int) -> list[tuple[str, str]]:
    """Both sides of so many pairs, of all files alike."""
    found = []
    for name in FILES:
        for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            sides = [row.get("chosen", row.get("completion_a"))]
            sides.append(row.get("rejected", row.get("completion_b")))
            texts = [s if isinstance(s, str) else s[-1]["content"] for s in sides]
            if all(text.strip() for text in texts):
                found.append((texts[0], texts[1]))
    random.Random(0).shuffle(found)
    return found[:count]


def save_base(folder: str, layers: int, width: int) -> str:
    """An encoder of so many layers, as wide, with 1,024 positions and random weights."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(minilm(), model_max_length=1024)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        max_position_embeddings=1024,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def now() -> float:
    """Seconds, once everything before is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Dense:
    """Times dense matrix products beside what is measured, again and again.

    One on all cores together, and one on each core by itself: what the machine can do is the faster
    of the two.
    """

    def __init__(self) -> None:
        import torch

        from reward_model.model.lanes import Lanes

        where, dtype = place()
        size, times = (2048, 4) if where == "cpu" else (8192, 20)
        self.a = torch.randn(size, size, device=where, dtype=dtype)
        cores = torch.get_num_threads() if where == "cpu" else 1
        ways = {Lanes(1, cores), Lanes(cores, 1)}
        self.times, self.work = times, times * 2.0 * size**3
        self.seconds: dict[Any, list[float]] = {way: [] for way in ways}

    def run(self) -> None:
        """Once more, each way."""

        def products(count: int) -> None:
            for _ in range(count):
                self.a @ self.a

        for way, seconds in self.seconds.items():
            each, start = max(1, self.times // way.count), now()
            list(way.map(products, [each] * way.count))
            seconds.append((now() - start) * self.times / (each * way.count))

    @property
    def rate(self) -> float:
        """FLOP/s, sustained."""
        return max(self.work * len(one) / sum(one) for one in self.seconds.values())


def stopwatch() -> Any:
    """Times every step, and dense matrix products before it, which the step's time leaves out."""
    from transformers import TrainerCallback

    class Stopwatch(TrainerCallback):
        """Of each step: its seconds, collating included, and the lengths of its texts."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.dense = Dense()
            self.lengths: list[list[int]] = []
            self.seen: list[Any] = []
            self.end = now()

        def watch(self, model: Any) -> None:
            """See what `model` reads."""

            def hook(_: Any, __: Any, inputs: dict[str, Any]) -> None:
                row = inputs.get("row")
                padded = None if row else inputs["attention_mask"].sum(1).tolist()
                self.seen.append(padded or [sum(n for _, n in parts) for parts in row.pieces])

            model.register_forward_pre_hook(hook, with_kwargs=True)

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            start = now()
            self.dense.run()
            self.apart = now() - start

        def on_step_end(self, *_: Any, **__: Any) -> None:
            end = now()
            self.seconds.append(end - self.end - self.apart)
            self.lengths.append([n for lengths in self.seen for n in lengths])
            self.seen.clear()
            self.end = now()

    return Stopwatch()


def place() -> tuple[str, Any]:
    """Device and precision."""
    import torch

    return ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)


def flops(config: Any, lengths: list[int]) -> float:
    """Of forward and backward on texts without padding: the matrix products alone."""
    wide = config.hidden_size
    inner = getattr(config, "intermediate_size", 4 * wide)
    gated = 3 if config.model_type in {"modernbert", "qwen2", "qwen3", "llama"} else 2
    weights = config.num_hidden_layers * (4 * wide * wide + gated * wide * inner)
    scores = 4 * config.num_hidden_layers * wide
    return float(sum(3 * (2 * weights * n + scores * n * n) for n in lengths))


def run_one(who: str, base: str, count: int, longest: int, peer_batch: int) -> dict[str, Any]:
    """Train once; what it took."""
    import torch
    from transformers import AutoTokenizer, Trainer, TrainingArguments, set_seed

    from reward_model.data.dataset import MultiDimRewardDataset, Sample
    from reward_model.data.tokens.inputs import InputBuilder
    from reward_model.model.batches import pad_id
    from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
    from reward_model.rubrics import load_rubric
    from reward_model.train.steps import LevelCollator
    from reward_model.train.trainer import MultiDimRewardTrainer

    where, _ = place()
    rubric = load_rubric("financial_report")
    tokenizer = AutoTokenizer.from_pretrained(base)
    builder = InputBuilder(tokenizer, longest)
    samples = [
        Sample("", text, (level,) * len(rubric.names), str(i), side, str(i))
        for i, pair in enumerate(pairs(count // 2))
        for side, text, level in (("chosen", pair[0], 3), ("rejected", pair[1], 1))
    ]
    data = MultiDimRewardDataset(samples, rubric, builder)
    set_seed(0)
    shared: dict[str, Any] = {
        "num_train_epochs": 1,
        "learning_rate": 5e-5,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": where == "cuda",
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "optim": "adamw_torch_fused",
        "max_grad_norm": 1.0,
        "seed": 0,
    }
    with tempfile.TemporaryDirectory() as folder:
        if who == "trl":
            trainer = trl_trainer(base, data, tokenizer, peer_batch, folder, shared)
        else:
            config = MultiDimRewardConfig.for_rubric(
                rubric, input_format=builder.input_format, head_dropout=0.0
            )
            model = MultiDimRewardModel.from_backbone(base, config, backbone_dropout=False)
            ours = who == "ours"
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=STEP if ours else peer_batch,
                gradient_accumulation_steps=1 if ours else STEP // peer_batch,
                label_names=["labels"],
                **shared,
            )
            trainer = (MultiDimRewardTrainer if ours else Trainer)(
                model=model,
                args=arguments,
                train_dataset=data,
                data_collator=LevelCollator(pad_id(tokenizer)),
            )
        watch = stopwatch()
        watch.watch(trainer.model)
        trainer.add_callback(watch)
        trainer.train()
    backbone = trainer.model.config
    known = getattr(backbone, "backbone_config", backbone)
    memory = (
        torch.cuda.max_memory_allocated()
        if where == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    seconds = sum(watch.seconds[WARM_UP:])
    counted = [n for step in watch.lengths[WARM_UP:] for n in step]
    return {
        "who": who,
        "seconds": seconds,
        "tokens": sum(counted),
        "tokens_per_s": sum(counted) / seconds,
        "flops": flops(known, counted) / seconds,
        "ceiling": watch.dense.rate,
        "steps": len(watch.seconds),
        "losses": [round(log["loss"], 3) for log in trainer.state.log_history if "loss" in log],
        "peak_gib": memory / 2**30,
    }


def trl_trainer(
    base: str, data: Any, tokenizer: Any, batch: int, folder: str, shared: dict[str, Any]
) -> Any:
    """RewardTrainer on the same token ids, as pairs."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    ids = [data[i]["input_ids"] for i in range(len(data))]
    ids = [list(map(int, one)) for one in ids]
    rows = Dataset.from_dict({"chosen_ids": ids[0::2], "rejected_ids": ids[1::2]})
    arguments = RewardConfig(
        output_dir=folder,
        per_device_train_batch_size=batch // 2,
        gradient_accumulation_steps=STEP // batch,
        gradient_checkpointing=False,
        max_length=None,
        **shared,
    )
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    return RewardTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer
    )


def main() -> None:
    """Run all three, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=None, help="folder of an encoder instead")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--peer-batch", type=int, default=8)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--one", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        texts = (options.steps + WARM_UP) * STEP
        result = run_one(options.one, options.base, texts, options.max_length, options.peer_batch)
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, options.base or save_base(folder, options.layers, options.width))


def compare(options: argparse.Namespace, base: str) -> None:
    """All three on one base, each in a process of its own."""

    def one(who: str) -> dict[str, Any]:
        words = [sys.executable, __file__, "--one", who, "--base", base]
        words += ["--steps", str(options.steps), "--max-length", str(options.max_length)]
        words += ["--peer-batch", str(options.peer_batch)]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    results = {who: one(who) for who in ("ours", "plain", "trl")}
    ours = results["ours"]
    print(f"{options.steps} steps of {STEP} texts")
    for who, r in results.items():
        print(
            f"{who:6} {r['tokens']:,} tokens  {r['tokens_per_s']:7,.0f} tokens/s  "
            f"{r['flops'] / 1e9:5,.0f} GFLOP/s, {r['flops'] / r['ceiling']:.0%} of "
            f"{r['ceiling'] / 1e9:,.0f} dense  peak {r['peak_gib']:.1f} GiB  losses {r['losses']}"
        )
    for who in ("plain", "trl"):
        ratio = ours["tokens_per_s"] / results[who]["tokens_per_s"]
        print(f"ours is {ratio:.2f} times as fast as {who}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), "utf-8")


if __name__ == "__main__":
    main()
