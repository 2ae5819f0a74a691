"""Where heads begin: at logistic regressions on what the untrained backbone makes of the texts.

Fine-tuning from random heads bends a backbone before it is known what for; from fitted ones it does
not (arXiv 2202.10054). `fit(vectors, labels, ...)` is the regression, `put(head, ...)` makes a head
compute it, `begin_at_probe(trainer, ...)` does both before the first step.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn
from transformers import Trainer

from reward_model.data.dataset import MultiDimRewardDataset, Sample, label_array
from reward_model.model.adapter import plain
from reward_model.model.batches import pad_id
from reward_model.model.familiarity import STILL
from reward_model.model.forward import Forward, Vectors
from reward_model.model.network import LevelHead
from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Floats, Ints
from reward_model.stats.jackknife import standard_error
from reward_model.stats.levels import POWERS, level_weights
from reward_model.stats.metrics import kappa_of
from reward_model.train.config import TrainConfig

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of scikit-learn's C, from a strong penalty to a weak one, on standardised vectors."""
USUAL = 1e-2
"""C where the training groups are too few to choose one."""
MOST = 4000
"""Texts that are read before the first step; of more, whole groups drawn by the seed."""
_CHOSEN_ON = 1500
"""Most texts that C is chosen on; the fit takes all."""
_FOLDS = 3
_MISSING = 0.5
"""Texts that a level counts for which no text has, so that its chance is small and not nothing."""


@dataclass(frozen=True)
class Line:
    """Logits `weight @ vector + bias` of one dimension."""

    weight: Floats
    """[K, H]"""
    bias: Floats
    """[K]"""
    strength: float
    """scikit-learn's C."""
    kappa: float | None
    """QWK on the groups left out; None where there were too few to choose on."""


def fit(
    vectors: Vectors,
    shares: Floats,
    groups: Ints,
    *,
    power: float = 0.0,
    bias: bool = True,
    length: bool = False,
    seed: int = 0,
) -> Line:
    """Multinomial logistic regression on standardised vectors, as weights for the vectors.

    C is the least of `STRENGTHS` whose quadratic weighted kappa on groups left out is within a
    standard error of the highest (Breiman et al. 1984, the 1-SE rule): of few texts the highest is
    so by luck, and steep heads turn the first steps of the backbone into leaps.

    Args:
        vectors: [n, H]
        shares: [n, K] of the levels; one is 1 where a text has one level.
        groups: [n] what is left out together, from 0.
        power: a text weighs `1 / count ** power` of its level.
        bias: False for heads without one; vectors are then scaled and not centred.
        length: the last number is the length of the response; it counts for the penalty as if it
            stood there H times, since one of hundreds of numbers would hardly get a weight.
        seed: of the groups that C is chosen on.
    """
    x = np.asarray(vectors, np.float64)
    middle = x.mean(0) if bias else np.zeros(x.shape[1])
    spread = x.std(0)
    # Numbers that never move but by rounding (an encoder has some) would get weights of millions,
    # and the first step of the backbone moves them.
    spread[spread <= STILL * np.median(spread)] = np.inf
    if length:
        spread[-1] /= np.sqrt(x.shape[1])
    x = (x - middle) / spread
    level = shares.argmax(1)
    weights = level_weights(level[:, None], shares.shape[1], power)[0]
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    rows = np.argsort(order[groups], kind="stable")[:_CHOSEN_ON]
    found = _cross_validated(x[rows], shares[rows], groups[rows], weights, bias)
    strength, kappa = (USUAL, None) if found is None else found
    *_, model = _path(x, shares, weights, bias, [strength], tol=1e-7, max_iter=1000)
    weight = model.coef_ / spread
    return Line(weight, model.intercept_ - weight @ middle, strength, kappa)


def _cross_validated(
    x: Floats, shares: Floats, groups: Ints, weights: Floats, bias: bool
) -> tuple[float, float] | None:
    """The one of `STRENGTHS` and its QWK on groups left out; None where there are too few."""
    from sklearn.model_selection import GroupKFold

    classes = shares.shape[1]
    level = shares.argmax(1)
    if len(np.unique(groups)) < 2 * _FOLDS or len(np.unique(level)) < 2:
        return None
    said = np.zeros((len(STRENGTHS), len(x)), np.int64)
    for learn, ask in GroupKFold(_FOLDS).split(x, level, groups):
        rough = {"tol": 1e-3, "max_iter": 100}
        models = _path(x[learn], shares[learn], weights, bias, STRENGTHS, **rough)
        for i, model in enumerate(models):
            said[i, ask] = model.predict(x[ask])

    def kappa(row: Ints, there: Ints) -> float:
        cells = np.bincount(level[there] * classes + row[there], minlength=classes**2)
        # Nothing but one level told is no agreement.
        return float(np.nan_to_num(float(kappa_of(cells.astype(np.float64)))))

    kappas = [kappa(row, np.arange(len(level))) for row in said]
    best = int(np.argmax(kappas))
    error = standard_error(lambda there: kappa(said[best], there), groups)
    least = next(i for i, one in enumerate(kappas) if one >= kappas[best] - error)
    return STRENGTHS[least], kappas[least]


def _path(
    x: Floats,
    shares: Floats,
    weights: Floats,
    bias: bool,
    strengths: Sequence[float],
    **until: float,
) -> Iterator[Any]:
    """A regression for each strength in turn, each beginning where the one before ended."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    row, level = np.nonzero(shares)
    weight = shares[row, level] * weights[level]
    missing = np.flatnonzero(shares.sum(0) == 0)
    inputs = np.concatenate([x[row], np.repeat(x.mean(0)[None], len(missing), 0)])
    levels = np.concatenate([level, missing])
    weight = np.concatenate([weight, np.full(len(missing), _MISSING)])
    model = LogisticRegression(fit_intercept=bias, warm_start=True, **until)
    for strength in strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for a start
            model.fit(inputs, levels, sample_weight=weight)
        yield model


def put(head: LevelHead, weight: Floats, bias: Floats, seed: int) -> None:
    """Make a head compute `weight @ vector + bias`, to the rounding of its own numbers.

    Between two layers, `f(z) - f(-z) = z` for relu and gelu: half of the units, or as many as the
    outputs need, carry the logits in random directions and their opposites, so that dropout takes
    little of any; the others stay as they were drawn and count for nothing yet.

    Args:
        head: of [H] to [K].
        weight: [K, H]
        bias: [K]; all 0 for a head without one.
        seed: of the directions.
    """
    lines, offset = torch.as_tensor(weight), torch.as_tensor(bias)
    with torch.no_grad():
        if head.dense is None:
            head.out.weight.copy_(lines)
            return
        outs, width = head.out.weight.shape
        carriers = max(outs, width // 4)
        random = torch.Generator().manual_seed(seed)
        drawn = torch.randn(carriers, outs, generator=random, dtype=torch.float64)
        directions = torch.linalg.qr(drawn).Q  # [carriers, K], columns of length 1
        head.out.weight.zero_()
        head.out.bias.zero_()
        for sign, at in ((1, 0), (-1, carriers)):
            units = slice(at, at + carriers)
            head.dense.weight[units] = (sign * directions @ lines).to(head.dense.weight)
            head.dense.bias[units] = (sign * directions @ offset).to(head.dense.bias)
            head.out.weight[:, units] = (sign * directions.T).to(head.out.weight)


def unfit_for_probe(trainer: Trainer) -> str | None:
    """Why the heads of this run cannot begin at a probe; None where they can."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return "the model is sharded over devices, and no one of them can read the texts alone"
    head = _own(plain(trainer.model).heads[0])
    if head.dense is None:
        return None
    if head.activation == "tanh":
        return "two layers with tanh between them compute no logistic regression"
    if (needed := 2 * head.out.out_features) > head.out.in_features:
        return f"head_width {head.out.in_features} is less than the {needed} that a probe needs"
    return None


def begin_at_probe(
    trainer: Trainer, dataset: MultiDimRewardDataset, config: TrainConfig, names: Sequence[str]
) -> dict[str, Any]:
    """Fit the heads on the backbone as it is; several processes read a part of the texts each.

    Args:
        trainer: whose model it is, on its device.
        dataset: the training texts.
        config: of the run.
        names: of the dimensions.

    Returns:
        Texts read, seconds, and by dimension C and QWK on the groups left out.
    """
    began = time.monotonic()
    model = plain(trainer.model)
    rows = chosen(dataset.samples, config.seed)
    vectors = _read(trainer, dataset, rows)
    linear = config.head_type == "linear"
    width = model.vector_size - bool(model.config.length_heads)
    lines: list[Line | None] = [None] * len(names)
    if trainer.is_world_process_zero():
        samples = [dataset.samples[int(i)] for i in rows]
        for d, (there, shares, groups) in enumerate(_targets(samples, len(names), model.config)):
            if len(there):
                reads = names[d] in model.config.length_heads
                lines[d] = fit(
                    vectors[there] if reads else vectors[there, :width],
                    shares,
                    groups,
                    power=POWERS[config.class_weights],
                    bias=not linear,
                    length=reads,
                    seed=config.seed,
                )
    lines = broadcast_object_list(lines)
    heads = [_own(head) for head in model.heads]
    if config.head == "multi":
        for i, (head, line) in enumerate(zip(heads, lines, strict=True)):
            if line is not None:
                put(head, line.weight, line.bias, config.seed + i)
    else:
        size = model.config.num_levels, vectors.shape[1]
        parts = [line or Line(np.zeros(size), np.zeros(size[0]), USUAL, None) for line in lines]
        weight = np.concatenate([part.weight for part in parts])
        put(heads[0], weight, np.concatenate([part.bias for part in parts]), config.seed)
    return {
        "texts": len(rows),
        "seconds": round(time.monotonic() - began, 2),
        "dimensions": {
            name: {"C": line.strength, "qwk": line.kappa}
            for name, line in zip(names, lines, strict=True)
            if line is not None
        },
    }


def probe_words(found: dict[str, Any]) -> str:
    """What was fitted, in one line."""
    parts = [
        name + (" (too few groups to choose C on)" if one["qwk"] is None else f" {one['qwk']:.3f}")
        for name, one in found["dimensions"].items()
    ]
    return (
        f"heads begin at logistic regressions on {found['texts']} texts "
        f"({found['seconds']:.1f} s); kappa on groups left out: {', '.join(parts)}"
    )


def _own(head: Any) -> LevelHead:
    """The head itself, under what peft puts around it."""
    copies = getattr(head, "modules_to_save", None)
    own: LevelHead = head if copies is None else next(iter(copies.values()))
    return own


def chosen(samples: Sequence[Sample], seed: int) -> Ints:
    """Rows to be read: all, or of many `MOST` of them, by whole groups."""
    rows = np.arange(len(samples))
    if len(rows) <= MOST:
        return rows
    groups = _numbers([sample.group for sample in samples])
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    return np.sort(np.argsort(order[groups], kind="stable")[:MOST])


def _numbers(names: Sequence[str]) -> Ints:
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([place[name] for name in names])


def _read(trainer: Trainer, dataset: MultiDimRewardDataset, rows: Ints) -> Vectors:
    """[n, H] pooled vectors of the rows, in every process."""
    model: Any = plain(trainer.model)
    if dataset.encoded is None:
        raise ValueError("a probe needs a dataset made with a builder")
    rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
    tokens: Any = getattr(trainer, "batch_tokens", 4096)
    training = model.training
    nn.Module.eval(model)
    try:
        forward = Forward(
            model, torch.device(trainer.args.device), pad_id(trainer.processing_class), tokens
        )
        mine = {i: dataset.encoded[int(rows[i])] for i in range(rank, len(rows), world)}
        with trainer.compute_loss_context_manager():
            found = [
                (i, vector)
                for batch, read in forward.readings(mine)
                for i, vector in zip(batch, read.vectors, strict=True)
            ]
    finally:
        model.train(training)
    every = gather_object(found) if world > 1 else found
    return np.stack([vector for _, vector in sorted(every, key=lambda one: one[0])])


def _targets(samples: Sequence[Sample], dimensions: int, config: Any) -> Any:
    """For each dimension: rows with a label, their shares of the levels, their groups."""
    labels = label_array(samples).astype(np.int64)
    groups = _numbers([sample.group for sample in samples])
    for d in range(dimensions):
        there = np.flatnonzero(labels[:, d] != IGNORE)
        shares: Any = np.eye(config.num_levels)[labels[there, d]]
        for k, i in enumerate(there.tolist()):
            soft = samples[i].soft
            if soft is not None:
                shares[k] = soft[d]
        yield there, shares, groups[there]


__all__ = ["Line", "begin_at_probe", "chosen", "fit", "probe_words", "put", "unfit_for_probe"]
