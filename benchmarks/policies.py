"""Policies on real pairs: four losses, text and embedding; and `trl dpo` beside ours.

    python benchmarks/policies.py DATA                 (a table of eight runs)
    python benchmarks/policies.py DATA --trl           (the same job by both commands)
    python benchmarks/policies.py --bias docs/examples/education_bias.jsonl   (by kind of bias)

DATA is a folder with `helpsteer_pairs.jsonl`. The policy is made in place: a Qwen2 of 0.4 M weights
with a vocabulary of the pairs' own words, after one pass of SFT. It shows that the runs work and
what their numbers look like, not what a real policy would gain.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ["<pad>", "<|im_start|>", "<|im_end|>"]
LENGTH = 512
ASKED = "Write one sentence about pupils and school."
COMMON = ["--lr", "1e-3", "--max-length", str(LENGTH), "--epochs", "2", "--test-share", "0.3"]


def make_base(folder: Path, texts: list[str]) -> Path:
    """A tiny policy that reads the words of these texts."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=3000, special_tokens=MARKS, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=MARKS[0], eos_token=MARKS[2], chat_template=CHATML
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=128,
            max_position_embeddings=2048,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ours(*words: object) -> None:
    """A command of this package in this process; libraries are imported once."""
    from reward_model.cli.commands import app

    code = app([*map(str, words)], standalone_mode=False)
    if code not in (0, 1, None):
        raise SystemExit(f"reward-model {' '.join(map(str, words))}: {code}")


LOSSES = ("dpo", "ipo", "sipa", "pref_po")


def table(data: Path, out: Path) -> None:
    """Train and measure all of them; print the rows of the table."""
    pairs = data / "helpsteer_pairs.jsonl"
    said = "Prefer helpful, correct and coherent answers."
    texts = [json.loads(line) for line in pairs.read_text("utf-8").splitlines()]
    raw = make_base(out / "raw", [str(t[k]) for t in texts for k in ("prompt", "chosen")])
    sft = out / "sft"
    ours("policy", "train", pairs, "--method", "sft", "--base-model", raw, "--output-dir", sft,
         *COMMON, "--lr", "3e-3")  # fmt: skip
    train(pairs, sft / "best", out / "runs", LOSSES, said, COMMON)
    show(measure(out, "--max-length", LENGTH, "--max-samples", 20, "--samples", 2,
                 "--max-new-tokens", 32))  # fmt: skip


def bias(rows: Path, out: Path) -> None:
    """Rows without a prompt, half of them held out; accuracy by kind of bias. The base knows
    nothing: after SFT on these sentences, which repeat each other, nothing would be left to learn.
    """
    common = [*COMMON, "--test-share", "0.5", "--instruction", ASKED]
    texts = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
    base = make_base(out / "untrained", [ASKED, *(t["chosen"] for t in texts)])
    ours("policy", "train", rows, "--method", "sft", "--base-model", base,
         "--output-dir", out / "runs" / "sft text", *common)  # fmt: skip
    train(
        rows,
        base,
        out / "runs",
        ("dpo", "sipa", "pref_po"),
        "Give every pupil the same chance.",
        common,
    )
    show_bias(measure(out, "--skip", "samples", "--by", "metadata.bias_type",
                      "--instruction", ASKED))  # fmt: skip


def train(
    pairs: Path, base: Path, runs: Path, losses: tuple[str, ...], said: str, common: list[str]
) -> None:
    """Each loss with text, then with virtual tokens."""
    told = {"pref_po": ["--preference", said]}
    for loss in losses:
        ours("policy", "train", pairs, "--loss", loss, "--base-model", base,
             "--output-dir", runs / f"{loss} text", *common, *told.get(loss, []))  # fmt: skip
    tokens = ["--virtual-tokens", "8", "--lr", "1e-2"]
    for loss in losses:
        # The weights learn before tokens that another run has trained.
        how = tokens if loss != "pref_po" else ["--preference", runs / "sipa embedding" / "adapter"]
        ours("policy", "train", pairs, "--loss", loss, "--base-model", base,
             "--output-dir", runs / f"{loss} embedding", *common, *how)  # fmt: skip


def measure(out: Path, *words: object) -> dict[str, Any]:
    """`policy evaluate` on all runs; what it tells of each."""
    result = out / "evaluation.json"
    try:
        ours("policy", "evaluate", out / "runs", *words, "--json", result)
    except SystemExit as leave:
        if leave.code not in (0, 1):
            raise
    told: dict[str, Any] = json.loads(result.read_text("utf-8"))["runs"]
    return told


def show(runs: dict[str, Any]) -> None:
    """The table as Markdown."""
    keys = ["preference_accuracy", "implicit_accuracy", "chosen_change", "perplexity", "kl"]
    print("| run | pairs | " + " | ".join(keys) + " |")
    print("|---|---|" + "---|" * len(keys))
    for name, run in runs.items():
        cells = [cell(run, key) for key in keys]
        print(f"| {name} | {run['preference_total']} | " + " | ".join(cells) + " |")


def show_bias(runs: dict[str, Any]) -> None:
    """`preference_accuracy` of all pairs and by kind, as Markdown."""
    kinds = next(iter(runs.values()))["slices"]["metadata.bias_type"]
    counts = [f"{kind} ({part['preference_total']})" for kind, part in kinds.items()]
    total = next(iter(runs.values()))["preference_total"]
    print(f"| run | all ({total}) | " + " | ".join(counts) + " |")
    print("|---|---|" + "---|" * len(counts))
    for name, run in runs.items():
        parts = [run, *run["slices"]["metadata.bias_type"].values()]
        cells = [cell(part, "preference_accuracy") for part in parts]
        print(f"| {name} | " + " | ".join(cells) + " |")


def cell(told: dict[str, Any], key: str) -> str:
    """A number with its interval."""
    around, value = told["intervals"].get(key, {}), told.get(key)
    low, high = around.get("low"), around.get("high")
    limits = "" if low is None else f" ({low:.2f} to {high:.2f})"
    return "–" if value is None else f"{value:.2f}{limits}"


def beside_trl(data: Path, out: Path) -> None:
    """The same 6 steps by `trl dpo` and by ours, on rows that fit and on all of them."""
    pairs = data / "helpsteer_pairs.jsonl"
    rows = [json.loads(line) for line in pairs.read_text("utf-8").splitlines()]
    rows.append({**rows[0], "prompt": "word " * 2000})
    base = make_base(out / "raw", [str(t[k]) for t in rows for k in ("prompt", "chosen")])
    reads = PreTrainedTokenizerFast.from_pretrained(base)

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    def tokens(chat: list[dict[str, str]], asks: bool = False) -> int:
        return len(reads.apply_chat_template(chat, add_generation_prompt=asks)["input_ids"])

    def fits(chat: dict[str, list[dict[str, str]]]) -> bool:
        answers = (chat["chosen"], chat["rejected"])
        return all(tokens(chat["prompt"] + answer) <= LENGTH for answer in answers)

    chats = [
        {
            "prompt": turn("user", row["prompt"]),
            **{answer: turn("assistant", row[answer]) for answer in ("chosen", "rejected")},
        }
        for row in rows
    ]
    print("| rows | command | seconds | loss of each step |\n|---|---|---|---|")
    for name, given in (("fit", [chat for chat in chats if fits(chat)]), ("all", chats)):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "data" / "train.jsonl"
        file.parent.mkdir(exist_ok=True)
        lines = "".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in given)
        file.write_text(lines, "utf-8")
        for command, words, state in both_commands(base, folder):
            began = time.monotonic()
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
            done = subprocess.run(
                [*map(str, words)], capture_output=True, text=True, env=environment, check=False
            )
            seconds = time.monotonic() - began
            if done.returncode:
                sys.exit(
                    f"{command}: exit {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}"
                )
            steps = [s for s in json.loads(state.read_text("utf-8"))["log_history"] if "loss" in s]
            losses = " ".join(f"{step['loss']:.4f}" for step in steps)
            print(f"| {name}: {len(given)} | {command} | {seconds:.0f} | {losses} |", flush=True)
    told = json.loads((out / "all" / "ours" / "metrics.json").read_text("utf-8"))["rows"]
    print("ours, all rows:", json.dumps(told))
    # trl 1.16, DPOTrainer: rows whose prompt fills max_length are filtered, longer answers cut.
    asked = [tokens(chat["prompt"], asks=True) >= LENGTH for chat in chats]
    cut = sum(not gone and not fits(chat) for gone, chat in zip(asked, chats, strict=True))
    print(f"trl, all rows: {sum(asked)} left out, {cut} with an answer cut")


def both_commands(base: Path, folder: Path) -> list[tuple[str, list[object], Path]]:
    """Name, words and the trainer's state of the same job by both commands."""
    fields = {"max_steps": "6", "lr_scheduler_type": "constant", "logging_steps": "1"}
    theirs: list[object] = [
        "trl", "dpo", "--model_name_or_path", base, "--dataset_name", folder / "data",
        "--output_dir", folder / "theirs", "--learning_rate", "1e-3", "--beta", "0.1",
        "--max_length", LENGTH, "--per_device_train_batch_size", "8", "--bf16", "False",
        "--gradient_accumulation_steps", "2", "--seed", "0", "--report_to", "none",
        "--use_cpu", "True", "--gradient_checkpointing", "False",
        *(w for k, v in fields.items() for w in (f"--{k}", v)),
    ]  # fmt: skip
    own: list[object] = [
        sys.executable, "-m", "reward_model", "policy", "train", folder / "data" / "train.jsonl",
        "--base-model", base, "--output-dir", folder / "ours", "--lr", "1e-3", "--beta", "0.1",
        "--max-length", LENGTH, "--batch-size", "16", "--device-batch", "8",
        "--eval-share", "0", "--test-share", "0",
        *(w for k, v in fields.items() for w in ("--set", f"{k}={v}")),
    ]  # fmt: skip
    return [
        ("trl dpo", theirs, folder / "theirs" / "checkpoint-6" / "trainer_state.json"),
        ("reward-model policy train", own, folder / "ours" / "trainer_state.json"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-policies"))
    parser.add_argument("--trl", action="store_true")
    parser.add_argument("--bias", type=Path, help="rows without a prompt, with metadata.bias_type")
    given = parser.parse_args()
    if given.bias is not None:
        bias(given.bias, given.out)
    elif given.data is None:
        parser.error("DATA, or --bias FILE")
    else:
        (beside_trl if given.trl else table)(given.data, given.out)
