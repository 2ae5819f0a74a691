"""Scoring beside sentence-transformers' CrossEncoder: throughput, shared prompts, host work.

    python benchmarks/scoring.py [--texts 320] [--threads 2] [--json FILE]

Part one: an encoder as wide as BERT-base with one linear layer on its first token, the same weights
in both, the same texts and threads, in one process: ours as `RewardScorer` runs it, and
`CrossEncoder.predict`, in the batch sizes given. All take their turn on every few texts, and before
each turn a dense matrix product of float32 is timed; shares are of its rate. Part two: K
completions of 200 tokens on one prompt of 2,000, with a decoder, together and each alone. Part
three: what a text of 60 tokens costs outside the forward pass, in time of the CPU: tokenising,
batches, scores; with a thin encoder, the same in both, whose pass is timed by hooks and taken off.
The texts are those of $REWARD_TEST_DATA, else of ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import training

LEVELS = 5
PROMPT = "Assess the report."
MOST = 1000
"""Tokens of a text; what is longer is cut beforehand, as the two cut in different places."""


def encoder(folder: Path, layers: int, width: int) -> tuple[Path, Path]:
    """The same weights twice: as a model of this package, and for CrossEncoder.

    Our head is made the other's linear layer: its first half passes x and -x on through ReLU.
    """
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    from reward_model.model.folder import save_bundle
    from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
    from reward_model.rubrics import load_rubric

    torch.manual_seed(0)
    base = training.save_base(str(folder / "base"), layers, width)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rubric = load_rubric("financial_report")
    config = MultiDimRewardConfig.for_rubric(rubric, pooling="cls", head="shared")
    ours = MultiDimRewardModel.from_backbone(base, config)
    labels = len(rubric.names) * LEVELS
    theirs = BertForSequenceClassification.from_pretrained(base, num_labels=labels)
    theirs.bert.pooler = _FirstToken()
    head, hidden = ours.heads[0], theirs.config.hidden_size
    # W x = W P x+ - W P x-, exact where W has rank H/4 or less.
    rank = hidden // 4
    down = torch.randn(rank, hidden) * hidden**-0.5
    up = torch.randn(labels, rank)
    with torch.no_grad():
        head.dense.weight.copy_(torch.cat([down, -down]))
        head.dense.bias.zero_()
        head.out.weight.copy_(torch.cat([up, -up], dim=1))
        theirs.classifier.weight.copy_(up @ down)
        theirs.classifier.bias.copy_(head.out.bias)
    save_bundle(ours, tokenizer, rubric, folder / "ours")
    theirs.save_pretrained(folder / "theirs")
    tokenizer.save_pretrained(folder / "theirs")
    return folder / "ours", folder / "theirs"


def _FirstToken() -> Any:  # noqa: N802 - a class, made where torch is loaded
    from torch import nn

    class FirstToken(nn.Module):
        def forward(self, hidden: Any) -> Any:
            return hidden[:, 0]

    return FirstToken()


def beside_cross_encoder(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Part one."""
    import numpy as np
    import torch
    from sentence_transformers import CrossEncoder

    from reward_model import RewardScorer

    ours, theirs = encoder(folder, options.layers, options.width)
    scorer = RewardScorer.from_pretrained(ours, device="cpu", batch_tokens=options.batch_tokens)
    peer = CrossEncoder(str(theirs), device="cpu", max_length=1024)
    peer.model.bert.pooler = _FirstToken()
    texts = [text for pair in training.pairs(options.texts // 2) for text in pair]
    texts = sorted(set(texts))
    random.Random(0).shuffle(texts)
    texts = [cut(text, scorer.tokenizer) for text in texts]
    lengths = [len(scorer.encode(PROMPT, text).input_ids) for text in texts]
    work = training.flops(scorer.model.config.backbone_config, lengths) / 3  # forward alone

    def mine(some: Sequence[str]) -> Any:
        scores = scorer.score_batch([PROMPT] * len(some), some)
        return np.array([list(score.probabilities.values()) for score in scores])

    def its(some: Sequence[str], size: int) -> Any:
        pairs = [(PROMPT, text) for text in some]
        logits = peer.predict(pairs, batch_size=size, activation_fn=torch.nn.Identity())
        split = torch.from_numpy(logits).double().unflatten(1, (-1, LEVELS))
        return split.softmax(-1).numpy()

    few = texts[:16]
    difference = float(np.abs(mine(few) - its(few, 8)).max())

    runs: dict[str, Callable[[Sequence[str]], Any]] = {"ours": mine}
    for size in options.peer_batches:
        runs[f"CrossEncoder, batch {size}"] = lambda some, size=size: its(some, size)
    seconds = dict.fromkeys(runs, 0.0)
    products = {name: training.Dense() for name in runs}
    for run in runs.values():
        run(few)
    for start in range(0, len(texts), options.chunk):
        for name, run in runs.items():
            products[name].run()
            begin = time.perf_counter()
            run(texts[start : start + options.chunk])
            seconds[name] += time.perf_counter() - begin
    best = min(value for name, value in seconds.items() if name != "ours")
    default = seconds.get("CrossEncoder, batch 32", best)
    print(
        f"{len(texts)} texts, {sum(lengths):,} tokens, {torch.get_num_threads()} threads; "
        f"largest difference {difference:.1e}"
    )
    for name, value in seconds.items():
        print(
            f"{name:24} {value:7.1f} s {sum(lengths) / value:9,.0f} tokens/s "
            f"{work / value / 1e9:6,.0f} GFLOP/s, {work / value / products[name].rate:.0%} of "
            f"{products[name].rate / 1e9:,.0f} dense"
        )
    print(f"ours is {default / seconds['ours']:.2f} times CrossEncoder.predict as it comes,")
    print(f"and {best / seconds['ours']:.2f} times with its best batch size")
    return {
        "difference": difference,
        "seconds": seconds,
        "tokens": sum(lengths),
        "dense": products["ours"].rate,
        "share": work / seconds["ours"] / products["ours"].rate,
        "ratio": default / seconds["ours"],
        "ratio_best": best / seconds["ours"],
    }


def cut(text: str, tokenizer: Any, most: int = MOST) -> str:
    """The beginning of a text."""
    ends = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
    offsets = ends["offset_mapping"]
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]


def shared_prompt(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Part two."""
    import numpy as np
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2Model

    from reward_model import RewardScorer
    from reward_model.model.folder import save_bundle
    from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
    from reward_model.rubrics import load_rubric

    tokenizer = AutoTokenizer.from_pretrained(training.minilm(), model_max_length=4096)
    torch.manual_seed(0)
    backbone = Qwen2Model(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=options.decoder_layers,
            num_attention_heads=14,
            num_key_value_heads=2,
        )
    )
    rubric = load_rubric("financial_report")
    config = MultiDimRewardConfig.for_rubric(
        rubric,
        backbone_config=backbone.config,
        pooling="last",
        input_format="plain",
        max_input_length=4096,
    )
    save_bundle(MultiDimRewardModel(config, backbone=backbone), tokenizer, rubric, folder / "qwen")
    scorer = RewardScorer.from_pretrained(folder / "qwen", device="cpu")
    words = [w for pair in training.pairs(400) for text in pair for w in text.split()]

    def text(tokens: int, seed: int) -> str:
        drawn = random.Random(seed).choices([w for w in words if w.isascii()], k=2 * tokens)
        ids = tokenizer(" ".join(drawn), add_special_tokens=False)["input_ids"][:tokens]
        return str(tokenizer.decode(ids))

    prompt, answers = text(2000, 0), [text(200, seed + 1) for seed in range(options.completions)]
    lengths = [len(scorer.encode(prompt, answer).input_ids) for answer in answers]

    def numbers(scores: Any) -> Any:
        return np.array([list(score.probabilities.values()) for score in scores])

    scorer.score("warm", "up")
    start = time.perf_counter()
    alone = [scorer.score(prompt, answer) for answer in answers]
    apart = time.perf_counter() - start
    start = time.perf_counter()
    shared = scorer.score_batch([prompt] * len(answers), answers)
    together = time.perf_counter() - start
    difference = float(np.abs(numbers(alone) - numbers(shared)).max())
    print(
        f"{len(answers)} completions, {lengths[0]:,} tokens each with their prompt: {apart:.1f} s "
        f"alone, {together:.1f} s together, {apart / together:.2f} times as fast; largest "
        f"difference {difference:.1e}"
    )
    return {
        "alone": apart,
        "together": together,
        "ratio": apart / together,
        "difference": difference,
    }


def host_work(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Part three: milliseconds of CPU a text."""
    import torch
    from sentence_transformers import CrossEncoder

    from reward_model import RewardScorer
    from reward_model.data.tokens.inputs import many_plain_ids

    ours, theirs = encoder(folder, 1, 64)
    scorer = RewardScorer.from_pretrained(ours, device="cpu", batch_tokens=65536)
    peer = CrossEncoder(str(theirs), device="cpu", max_length=1024)
    peer.model.bert.pooler = _FirstToken()
    words = [w for pair in training.pairs(400) for text in pair for w in text.split()]
    drawn = [
        " ".join(random.Random(seed).choices([w for w in words if w.isascii()], k=60))
        for seed in range(options.short_texts)
    ]
    texts = [cut(text, scorer.tokenizer, 60) for text in drawn]

    inside = begun = 0.0

    def begin(*_: Any) -> None:
        nonlocal begun
        begun = time.process_time()

    def end(*_: Any) -> None:
        nonlocal inside
        inside += time.process_time() - begun

    for model in (scorer.model, peer.model):
        model.register_forward_pre_hook(begin)
        model.register_forward_hook(end)

    def predict(size: int) -> Any:
        pairs = [(PROMPT, text) for text in texts]
        return peer.predict(pairs, batch_size=size, activation_fn=torch.nn.Identity())

    runs: dict[str, Callable[[], Any]] = {
        "ours": lambda: scorer.score_batch([PROMPT] * len(texts), texts),
        "ours, its tokenizer alone": lambda: many_plain_ids(scorer.tokenizer, texts),
    }
    for size in options.peer_batches:
        runs[f"CrossEncoder, batch {size}"] = lambda size=size: predict(size)
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(options.rounds):
        for name, run in runs.items():
            inside, start = 0.0, time.process_time()
            run()
            spent = time.process_time() - start - inside
            least[name] = min(least[name], spent * 1000 / len(texts))
    print(
        f"{len(texts)} texts of 60 tokens, {torch.get_num_threads()} threads: CPU outside the "
        f"forward pass, the least of {options.rounds} rounds"
    )
    for name, value in least.items():
        print(f"{name:26} {value:6.3f} ms a text")
    return least


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=320)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--chunk", type=int, default=80, help="texts of a call")
    parser.add_argument("--batch-tokens", type=int, default=None)
    parser.add_argument("--peer-batches", type=int, nargs="+", default=[32, 8])
    parser.add_argument("--completions", type=int, default=8)
    parser.add_argument("--decoder-layers", type=int, default=4)
    parser.add_argument("--part", type=int, choices=[1, 2, 3], default=None)
    parser.add_argument("--short-texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        results = {}
        if options.part in (None, 1):
            results["cross_encoder"] = beside_cross_encoder(options, Path(folder))
        if options.part in (None, 2):
            results["shared_prompt"] = shared_prompt(options, Path(folder))
        if options.part in (None, 3):
            results["host_work_ms"] = host_work(options, Path(folder))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), "utf-8")


if __name__ == "__main__":
    main()
