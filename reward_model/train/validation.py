"""What the validation texts are for: picking the best checkpoint, and telling what is unlike them.

`ValidationMetrics(samples, rubric)` is what training reports of them; `measure_familiarity(...)`
puts into a trained model how unlike what it was trained on they are, `measure_rewards(...)` where
their rewards lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction

from reward_model.data.dataset import (
    MultiDimRewardDataset,
    Sample,
    label_array,
    pair_indices,
)
from reward_model.data.split import fingerprint
from reward_model.data.tokens.inputs import Encoded
from reward_model.model.batches import pad_id
from reward_model.model.device import best_dtype, tokens_at_once
from reward_model.model.familiarity import fit
from reward_model.model.folder import Bundle, load_bundle
from reward_model.model.forward import Forward, Vectors
from reward_model.model.losses import level_cross_entropy
from reward_model.model.scale import fit_scale, models_digest, store_scale
from reward_model.records import IGNORE, UserError
from reward_model.rubrics import Rubric
from reward_model.stats import levels
from reward_model.stats.bootstrap import Floats, Ints
from reward_model.stats.jackknife import standard_error
from reward_model.stats.metrics import kappa_of
from reward_model.train.probe import chosen


class ValidationMetrics:
    """What Trainer reports of the validation texts, and picks the best checkpoint by.

    Args:
        samples: the validation texts, in order.
        rubric: their rubric.
    """

    def __init__(self, samples: Sequence[Sample], rubric: Rubric) -> None:
        self.rubric = rubric
        self.error_of: str | None = None
        """Measure whose standard error is told as well, as `NAME_error`."""
        place = {group: i for i, group in enumerate(dict.fromkeys(s.group for s in samples))}
        self._groups: Ints = np.array([place[s.group] for s in samples], np.int64)
        self.pairs: list[tuple[int, int]] = pair_indices(samples)
        self.labels: Ints = label_array(samples).astype(np.int64)
        soft = [sample.soft for sample in samples]
        self.soft: Tensor | None = None
        """(N, D, K) shares of the levels, where these are learned."""
        if soft and all(shares is not None for shares in soft):
            self.soft = torch.tensor(soft, dtype=torch.float64)

    @property
    def can_rank(self) -> bool:
        """Some dimension has more than one level here, so that a kappa exists."""
        return any(len(set(c[c != IGNORE].tolist())) > 1 for c in self.labels.T)

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Kappa, accuracy, pair accuracy from logits (N, D, K); what has no value is left out."""
        logits = torch.as_tensor(np.asarray(prediction.predictions), dtype=torch.float64)
        if not torch.isfinite(logits).all():
            raise UserError(
                "outputs that are no numbers on the validation texts",
                expected="finite logits",
                mend="lower --lr, or train in fp32; the last good checkpoint is kept",
            )
        labels = np.asarray(prediction.label_ids)
        out = self._measures(logits, labels, np.arange(len(labels)))
        if (name := str(self.error_of)) in out:

            def measure(rows: Ints) -> float:
                return self._measures(logits, labels, rows).get(name, np.nan)

            out[f"{name}_error"] = standard_error(measure, self._groups)
        return out

    def _measures(self, logits: Tensor, labels: Ints, rows: Ints) -> dict[str, float]:
        """Of some rows."""
        soft = None if self.soft is None else self.soft[rows]
        place = np.full(len(labels), -1)
        place[rows] = np.arange(len(rows))
        pairs = place[np.array(self.pairs, np.int64).reshape(-1, 2)]
        pairs = pairs[(pairs >= 0).all(1)]
        logits, labels = logits[rows], labels[rows]
        probabilities = logits.softmax(-1).numpy()
        predicted = probabilities.argmax(-1)
        classes = self.rubric.classes
        out: dict[str, float] = {}
        kappas = []
        for d, name in enumerate(self.rubric.names):
            there = labels[:, d] != IGNORE
            cells = labels[there, d] * classes + predicted[there, d]
            kappa = float(kappa_of(np.bincount(cells, minlength=classes**2).astype(float)))
            # Of one label only there is nothing to agree on, however many are predicted right.
            if np.isfinite(kappa) and len(np.unique(labels[there, d])) > 1:
                out[f"qwk_{name}"] = kappa
                kappas.append(kappa)
            if there.any():
                out[f"accuracy_{name}"] = float((labels[there, d] == predicted[there, d]).mean())
        if kappas:
            out["qwk"] = float(np.mean(kappas))
        if (labels != IGNORE).any():
            # Over all labels at once: the Trainer's own mean over batches depends on the batches.
            truth = torch.as_tensor(labels)
            out["loss"] = float(level_cross_entropy(logits, truth, soft_labels=soft))
            out["accuracy"] = float((predicted == labels)[labels != IGNORE].mean())
        if len(pairs):
            weights = [self.rubric.weights[name] for name in self.rubric.names]
            reward = levels.rewards(probabilities, weights)
            out["pair_accuracy"] = float(np.mean(reward[pairs[:, 0]] > reward[pairs[:, 1]]))
        return out


def level_weights(samples: Sequence[Sample], rubric: Rubric, power: float = 1.0) -> Tensor:
    """(D, K) weights of the levels; see `reward_model.stats.levels.level_weights`."""
    weights = levels.level_weights(label_array(samples).astype(np.int64), rubric.classes, power)
    return torch.tensor(weights, dtype=torch.float32)


def measure_familiarity(
    folder: Path,
    train: MultiDimRewardDataset,
    validation: MultiDimRewardDataset,
    device: torch.device,
    seed: int,
) -> str | None:
    """Put `familiarity.safetensors` into a model folder, of what the model itself makes of texts.

    Args:
        folder: of the trained model, which is read as it will be for scoring.
        train: texts it was trained on; of many, some.
        validation: texts of other groups.
        device: where to read them.
        seed: of the choice.

    Returns:
        Why it could not be measured; None where it was.
    """
    if not len(validation) or len(train) < 2:
        return "no validation texts, so the model cannot tell how familiar a text is to it"
    try:
        forward, bundle = _loaded(folder, device)
        read = [
            (_readings(forward, one, rows)[0], _responses(bundle, one, rows))
            for one, rows in ((one, chosen(one.samples, seed)) for one in (train, validation))
        ]
    except UserError as error:  # such as a backbone whose code is not kept with the model
        return f"the model cannot tell how familiar a text is to it ({error.found})"
    except torch.OutOfMemoryError:
        return "too little memory beside the trained model to measure how familiar texts are to it"
    (learned, trained_on), (held_out, validated_on) = read
    fit(learned, held_out, trained_on, validated_on).save(folder)
    return None


def measure_rewards(
    folder: Path, texts: MultiDimRewardDataset, file: Path, device: torch.device, seed: int
) -> str:
    """Put mean and standard deviation of the rewards of texts into a model folder.

    Args:
        folder: of the trained model, which is read as it will be for scoring.
        texts: the reference; of many, some.
        file: they are of.
        device: where to read them.
        seed: of the choice.

    Returns:
        What was stored, or why nothing could be; in words.
    """
    try:
        forward, bundle = _loaded(folder, device)
        rubric = bundle.rubric
        rows = chosen(texts.samples, seed)
        _, chances = _readings(forward, texts, rows)
        fine = np.isfinite(chances).all(axis=(1, 2))
        weights = [rubric.weights[name] for name in rubric.names]
        scale = fit_scale(
            levels.rewards(chances[fine], weights),
            np.clip(levels.expected_levels(chances[fine]) / rubric.scale, 0.0, 1.0),
            {
                name: weight / sum(weights)
                for name, weight in zip(rubric.names, weights, strict=True)
            },
            0.0,
            no_opinion=int((~fine).sum()),
            texts=file,
            rows=fingerprint([texts.samples[int(row)] for row in rows]),
            model=models_digest([folder]),
        )
    except UserError as error:
        return f"rewards cannot be centred ({error.found})"
    except torch.OutOfMemoryError:
        return "too little memory beside the trained model to measure where rewards lie"
    store_scale([folder], scale)
    return (
        f"mean reward {scale.mean:.4f}, standard deviation {scale.sd:.4f}, of {scale.texts} texts; "
        "stored for --centered"
    )


def _loaded(folder: Path, device: torch.device) -> tuple[Forward, Bundle]:
    bundle = load_bundle(folder, dtype=best_dtype(device))
    torch.nn.Module.to(bundle.model, device)
    tokens = tokens_at_once(device)
    return Forward(bundle.model, device, pad_id(bundle.tokenizer), tokens), bundle


def _readings(
    forward: Forward, dataset: MultiDimRewardDataset, rows: Ints
) -> tuple[Vectors, Floats]:
    """[n, H] pooled vectors and [n, D, K] chances of the rows."""
    texts = _encoded(dataset)
    encoded = {i: texts[int(row)] for i, row in enumerate(rows)}
    vectors: dict[int, Vectors] = {}
    chances: dict[int, Floats] = {}
    for batch, read in forward.readings(encoded):
        vectors.update(zip(batch, read.vectors, strict=True))
        chances.update(zip(batch, read.chances, strict=True))
    order = range(len(rows))
    return np.stack([vectors[i] for i in order]), np.stack([chances[i] for i in order])


def _responses(bundle: Bundle, dataset: MultiDimRewardDataset, rows: Ints) -> list[list[int]]:
    texts = _encoded(dataset)
    return [bundle.builder.response_ids(texts[int(row)]) for row in rows]


def _encoded(dataset: MultiDimRewardDataset) -> Sequence[Encoded]:
    if dataset.encoded is None:
        raise ValueError("a dataset made with a builder is needed")
    return dataset.encoded
