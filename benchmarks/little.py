"""What is learned from few labels: the probe, training from it and without it, and its rivals.

    python benchmarks/little.py start HELPSTEER [--seeds 3] [--epochs 2] [--max-length 256]
    python benchmarks/little.py calibration HELPSTEER --rubric helpsteer [--seeds 12]
    python benchmarks/little.py losses SCORED [--seeds 3] [--rubric NAME]
    python benchmarks/little.py rates SCORED [--seeds 3] [--rubric NAME] [--max-length 128]

`start`: all-MiniLM-L6-v2 on human-rated HelpSteer responses (a file of rows with five attributes),
groups held out anew by each seed: quadratic weighted kappa of length alone, of TF-IDF, of the
probe, and of training that begins at it or at random. `calibration`: the error of the probe's
chances before and after a temperature. `losses`: heads on the frozen vectors of that encoder by
several losses, each as strongly regularised as grouped cross-validation says, and both ways of
telling a level. `rates`: the encoder trained from the probe on 160 texts, its last step, by the
rates of heads and layers. Everything stays in --out and is not made twice.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoder import minilm, train
from scipy.special import log_softmax
from torch import Tensor
from torch.nn import functional as F

from reward_model.data.dataset import MultiDimRewardDataset
from reward_model.data.reading import find_rubric, read_samples
from reward_model.data.split import Part, split_groups
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.measure.calibration import fit_temperature
from reward_model.measure.evaluation.run import evaluate
from reward_model.model.forward import Forward
from reward_model.model.losses import ordinal_targets
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.records import IGNORE, as_text
from reward_model.rubrics import Rubric
from reward_model.stats.metrics import (
    BINS,
    calibration_error_of,
    confidence_bin,
    kappa_of,
    perfect_error,
)
from reward_model.train.config import resolve
from reward_model.train.prepare import prepare
from reward_model.train.probe import begin_at_probe
from reward_model.train.probe import fit as probe
from reward_model.train.progress import TrainingBar
from reward_model.train.run import make_trainer
from reward_model.train.trainer import MultiDimRewardTrainer

STARTS: dict[str, dict[str, Any]] = {
    "the probe": {"max_steps": 1, "learning_rate": 1e-12, "head_learning_rate": 1e-12},
    "from the probe": {},
    "from random heads": {"probe": False},
}


def kappa(truth: Any, said: Any, classes: int) -> float:
    """Quadratic weighted kappa; 0 where only one level is told."""
    there = truth != IGNORE
    cells = np.bincount(truth[there] * classes + said[there], minlength=classes**2)
    found = float(kappa_of(cells.astype(float)))
    return found if np.isfinite(found) else 0.0


def told(chances: Any) -> dict[str, Any]:
    """The most likely level, and the one that is best under the quadratic cost."""
    expected = chances @ np.arange(chances.shape[-1])
    return {"argmax": chances.argmax(-1), "quadratic": np.rint(expected).astype(int)}


def table(rows: dict[str, dict[str, list[float]]]) -> None:
    """Means over the seeds with the least and the most."""
    columns = list(next(iter(rows.values())))
    print("| | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for name, cells in rows.items():
        words = [
            f"{np.mean(v):.3f} [{min(v):.2f}, {max(v):.2f}]" if v else "–" for v in cells.values()
        ]
        print(f"| {name} | " + " | ".join(words) + " |")


def start(options: argparse.Namespace) -> None:
    """Training from the probe, from random heads, and the probe itself."""
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        for name, flags in STARTS.items():
            settings = {
                "rubric": "helpsteer",
                "epochs": options.epochs,
                "batch_size": 8,
                "max_length": options.max_length,
                "max_prompt_length": 64,
                "seed": seed,
                "learning_rate": 2e-4,
                "head_learning_rate": 1e-3,
                "class_weights": "sqrt",
                "test_share": 0.25,
                "eval_share": 0.15,
                **flags,
            }
            place = f"{name.replace(' ', '_')}_{seed}"
            kept = options.out / f"{place}.json"
            if not kept.exists():
                best = train(options.out, options.data, place, settings)
                found = evaluate(best, options.data, resamples=100)
                metrics = found.result["metrics"]
                said = told(found.probabilities)
                values = {}
                for d, dimension in enumerate(found.rubric.names):
                    labels = found.truth.labels[:, d]
                    values[dimension] = kappa(labels, said["argmax"][:, d], 5)
                    values[f"{dimension} (quadratic)"] = kappa(labels, said["quadratic"][:, d], 5)
                others = {
                    which: {
                        d: one["kappa"].get("value") or 0.0
                        for d, one in metrics[which]["dimensions"].items()
                    }
                    for which in ("length", "tfidf")
                    if which in metrics
                }
                kept.write_text(json.dumps({name: values, **others}), "utf-8")
            for who, values in json.loads(kept.read_text("utf-8")).items():
                if who in ("length", "tfidf") and name != "the probe":
                    continue
                for dimension, value in values.items():
                    which = "quadratic" if dimension.endswith("(quadratic)") else "argmax"
                    label = f"{who}, {which}" if who in STARTS else who
                    plain = dimension.removesuffix(" (quadratic)")
                    rows.setdefault(label, {}).setdefault(plain, []).append(value)
    table(rows)


def divide(data: Path, place: Path, size: int, seed: int, rubric_name: str | None = None) -> Rubric:
    """Write `learn.jsonl`, of so many texts, and `ask.jsonl`, of groups held out."""
    rubric = find_rubric(data, rubric_name)
    samples, _ = read_samples(data, rubric)
    split = split_groups(samples, {"train": 0.75, "validation": 0.0, "test": 0.25}, seed, {})
    groups = {part: set(names) for part, names in split.groups.items()}
    lines = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    kept = [sample for sample in samples if sample.side != "rejected"]
    learn, ask = (
        [line for line, s in zip(lines, kept, strict=True) if s.group in groups[part]]
        for part in ("train", "test")
    )
    place.mkdir(parents=True, exist_ok=True)
    sides = 1 if samples[0].side == "single" else 2
    for name, part in (("learn", learn[: size // sides]), ("ask", ask)):
        words = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in part)
        (place / f"{name}.jsonl").write_text(words, "utf-8")
    return rubric


def vectors(data: Path, rubric_name: str | None, length: int, out: Path) -> Any:
    """Pooled vectors of the frozen encoder, labels and groups."""
    from transformers import AutoTokenizer

    rubric = find_rubric(data, rubric_name)
    builder = InputBuilder(AutoTokenizer.from_pretrained(minilm()), length, max_prompt_length=64)
    dataset = MultiDimRewardDataset.from_file(data, rubric, builder)
    kept = out / f"{data.stem}_{length}.npy"
    if not kept.exists():
        config = MultiDimRewardConfig.for_rubric(rubric, input_format=builder.input_format)
        model = MultiDimRewardModel.from_backbone(str(minilm()), config).eval()
        forward = Forward(model, torch.device("cpu"), 0, 4096)
        texts = {i: dataset.encoded[i] for i in range(len(dataset))}
        x = np.zeros((len(dataset), model.backbone.config.hidden_size), np.float32)
        for at, read in forward.readings(texts):
            x[at] = read.vectors
        np.save(kept, x)
    labels = np.array([sample.labels for sample in dataset.samples])
    return np.load(kept), labels, dataset.samples, rubric


def calibration(options: argparse.Namespace) -> None:
    """Calibration error over the held-out texts of all seeds, before and after the temperature.

    The heads are probes, as training kept them in `start`; those of dimensions without weight also
    read the number of words. Beside them what the level frequencies of the training texts have,
    told of every text, and what chances that are kept to would show.
    """
    x, labels, samples, rubric = vectors(
        options.data, options.rubric, options.max_length, options.out
    )
    groups = np.array([sample.group for sample in samples])
    words = np.array([[len(as_text(sample.response).split())] for sample in samples])
    long = np.hstack([x, np.log2(np.maximum(words, 1))])
    seen: dict[str, list[Any]] = {name: [] for name in rubric.names}
    for seed in range(options.seeds):
        shares: dict[Part, float] = {"train": 0.6, "validation": 0.15, "test": 0.25}
        split = split_groups(samples, shares, seed, {})
        learn, check, ask = (np.isin(groups, split.groups[part]) for part in shares)
        for d, name in enumerate(rubric.names):
            there = labels[:, d] != IGNORE
            length = not rubric.weights[name]
            at, y, z = learn & there, labels[:, d], long if length else x
            one = np.eye(rubric.classes)[y[at]]
            number = np.unique(groups[at], return_inverse=True)[1]
            line = probe(z[at], one, number, power=0.5, length=length, seed=seed)
            said = z @ line.weight.T + line.bias
            heat, _ = fit_temperature(said[check], y[check])
            often = np.broadcast_to(np.log(one.mean(0) + 1e-9), said.shape)
            to = ask & there
            seen[name].append([log_softmax(v[to], 1) for v in (said, said / heat, often)] + [y[to]])
    columns = ["ECE", "before", "after the temperature", "level frequencies", "if perfect"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name, parts in seen.items():
        *logs, y = (np.concatenate(part) for part in zip(*parts, strict=True))
        cells = []
        for log in logs:
            sure, right = np.exp(log.max(1)), log.argmax(1) == y
            counts = (
                np.stack([np.ones_like(sure), sure, right]) @ np.eye(BINS)[confidence_bin(sure)]
            )
            cells.append(f"{calibration_error_of(counts.T.ravel()):.3f}")
        chance = perfect_error(np.exp(logs[1].max(1)))
        print(f"| {name} | " + " | ".join([*cells, f"{chance[0]:.3f}" if chance else "–"]) + " |")


def cross_entropy(logits: Tensor, level: Tensor) -> Tensor:
    """The loss of training."""
    return F.cross_entropy(logits, level)


def smoothed(logits: Tensor, level: Tensor) -> Tensor:
    """With a tenth of the target on other levels, near ones first."""
    target = ordinal_targets(level, logits.shape[1], 0.1)
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def emd(logits: Tensor, level: Tensor) -> Tensor:
    """Cross-entropy and the squared earth mover's distance (arXiv 1611.05916)."""
    target = F.one_hot(level, logits.shape[1]).to(logits)
    gap = (logits.softmax(-1) - target).cumsum(-1)
    return F.cross_entropy(logits, level) + gap.square().sum(-1).mean()


def expected(logits: Tensor, level: Tensor) -> Tensor:
    """Cross-entropy and the squared error of the expected level."""
    grid = torch.arange(logits.shape[1], dtype=logits.dtype)
    off = logits.softmax(-1) @ grid - level
    return F.cross_entropy(logits, level) + 0.5 * off.square().mean()


def cumulative(logits: Tensor, level: Tensor) -> Tensor:
    """Binary cross-entropy of P(level > k) (as in CORAL and CORN, arXiv 1901.07884, 2111.08851)."""
    above = logits.softmax(-1).flip(-1).cumsum(-1).flip(-1)[:, 1:].clamp(1e-7, 1 - 1e-7)
    target = (level[:, None] > torch.arange(logits.shape[1] - 1)).to(logits)
    return F.binary_cross_entropy(above, target, reduction="none").sum(-1).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "smoothed by distance, 0.1": smoothed,
    "with EMD²": emd,
    "with the expected level": expected,
    "cumulative": cumulative,
}
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)


def heads(x: Any, level: Any, loss: Any, penalty: float, classes: int) -> tuple[Tensor, Tensor]:
    """A linear head by LBFGS."""
    inputs, target = torch.tensor(x), torch.tensor(level)
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(inputs @ weight.T + bias, target) + penalty * weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def chances(x: Any, head: tuple[Tensor, Tensor]) -> Any:
    """[n, K]"""
    return (torch.tensor(x) @ head[0].T + head[1]).softmax(-1).numpy()


def losses(options: argparse.Namespace) -> None:
    """Heads on frozen vectors by several losses."""
    from sklearn.model_selection import GroupKFold

    x, labels, samples, rubric = vectors(
        options.data, options.rubric, options.max_length, options.out
    )
    k = rubric.classes
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        split = split_groups(samples, {"train": 0.75, "validation": 0.0, "test": 0.25}, seed, {})
        train_rows, test = split.rows(samples, "train"), split.rows(samples, "test")
        middle, spread = x[train_rows].mean(0), x[train_rows].std(0) + 1e-9
        z = ((x - middle) / spread).astype(np.float64)
        place = {g: i for i, g in enumerate(dict.fromkeys(s.group for s in samples))}
        groups = np.array([place[sample.group] for sample in samples])
        for name, loss in LOSSES.items():
            for d in range(labels.shape[1]):
                there = np.array([i for i in train_rows if labels[i, d] != IGNORE])
                folds = list(GroupKFold(3).split(there, groups=groups[there]))
                found = []
                for penalty in PENALTIES:
                    said = np.zeros(len(there), int)
                    for learn, ask in folds:
                        head = heads(z[there[learn]], labels[there[learn], d], loss, penalty, k)
                        said[ask] = chances(z[there[ask]], head).argmax(-1)
                    found.append(kappa(labels[there, d], said, k))
                best = PENALTIES[int(np.argmax(found))]
                head = heads(z[there], labels[there, d], loss, best, k)
                for how, level in told(chances(z[test], head)).items():
                    cells = rows.setdefault(f"{name}, {how}", {})
                    value = kappa(labels[test, d], level, k)
                    cells.setdefault(rubric.names[d], []).append(value)
    for cells in rows.values():
        cells["mean"] = list(np.mean(list(cells.values()), axis=0))
    table(rows)


RATES = {
    "one rate": (1.0, 1.0),
    "heads ten times as fast": (10.0, 1.0),
    "so, and each layer 0.8 of the next": (10.0, 0.8),
}
"""Of the heads as a multiple of the backbone's, and of a layer as a share of that above it
(arXiv 1801.06146, 3.2; 2003.10555, appendix A)."""
LEARN = 160


class Layered(MultiDimRewardTrainer):
    """The layers of the backbone at rates that fall off from the last one."""

    share = 1.0

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Every layer in groups of its own."""
        optimizer = super().create_optimizer(model)
        network: Any = self.model
        layers = network.backbone.config.num_hidden_layers
        below = {}
        for name, weight in network.backbone.named_parameters():
            found = re.search(r"layer\.(\d+)\.", name)
            below[id(weight)] = layers - 1 - int(found[1]) if found else layers
        for group in list(optimizer.param_groups):
            parts: dict[int, list[Any]] = {}
            for weight in group["params"]:
                parts.setdefault(below.get(id(weight), 0), []).append(weight)
            group["params"] = parts.pop(0, [])
            for depth, weights in parts.items():
                rate = group["lr"] * self.share**depth
                optimizer.add_param_group({**group, "params": weights, "lr": rate})
        return optimizer


def rates(options: argparse.Namespace) -> None:
    """Mean QWK on held-out groups after the last step."""
    rubric = find_rubric(options.data, options.rubric)
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        place = options.out / f"rates_{options.data.stem}_{seed}"
        for name, (heads_, share) in RATES.items():
            kept = place / f"{heads_:g}_{share:g}.json"
            if not kept.exists():
                divide(options.data, place, LEARN, seed, options.rubric)
                flags = {
                    "base_model": str(minilm()),
                    "rubric": options.rubric,
                    "epochs": options.epochs,
                    "batch_size": 8,
                    "max_length": options.max_length,
                    "max_prompt_length": 32,
                    "seed": seed,
                    "learning_rate": 1e-4,
                    "head_learning_rate": 1e-4 * heads_,
                    "class_weights": "sqrt",
                    "test_share": 0.0,
                    "eval_share": 0.0,
                }
                run = prepare(resolve(place / "learn.jsonl", place / "model", None, flags))
                trainer: Any = make_trainer(run, TrainingBar())
                trainer.__class__, Layered.share = Layered, share
                begin_at_probe(trainer, run.train, run.config, run.rubric.names)
                trainer.train()
                asked, _ = read_samples(place / "ask.jsonl", rubric)
                builder = InputBuilder(run.tokenizer, options.max_length, max_prompt_length=32)
                dataset = MultiDimRewardDataset(asked[: 2 * LEARN], rubric, builder)
                texts = dict(enumerate(dataset.encoded))
                forward = Forward(run.model.eval(), torch.device("cpu"), 0, 4096)
                levels = np.zeros((len(texts), len(rubric.names)), int)
                for at, read in forward.readings(texts):
                    levels[at] = read.chances.argmax(-1)
                labels = np.array([sample.labels for sample in dataset.samples])
                found = [
                    kappa(labels[:, d], levels[:, d], rubric.classes)
                    for d in range(labels.shape[1])
                ]
                kept.write_text(json.dumps(float(np.mean(found))), "utf-8")
            value = json.loads(kept.read_text("utf-8"))
            rows.setdefault(name, {}).setdefault(options.data.stem, []).append(value)
    table(rows)


def main(words: Sequence[str] | None = None) -> None:
    """One part of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("start", "calibration", "losses", "rates"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("outputs/little"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--rubric")
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    parts = {"start": start, "calibration": calibration, "losses": losses, "rates": rates}
    parts[options.part](options)


if __name__ == "__main__":
    main()
