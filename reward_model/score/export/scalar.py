"""One reward instead of D distributions: a linear layer fitted to the model's own reward.

`fit_scalar(scorer, texts, seed)` gives a `*ForSequenceClassification` with one label, the inputs it
is to be measured on, and how well it follows the model on prompts that the fit has not seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from reward_model.data.tokens.inputs import Encoded, InputBuilder
from reward_model.model.packed import OVER_ALL
from reward_model.records import UserError, as_text
from reward_model.score.export.classifier import empty_classifier, load_backbone
from reward_model.score.export.padding import safe_padding
from reward_model.score.export.sample import Sampled, outputs
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import Floats

View = Literal["trained", "text", "bare"]
"""How a text reaches the exported model: laid out as in training; prompt and response written on
end, with the tokenizer's special tokens (servers) or without them (TRL's trainers)."""
Layout = Literal["trained", "text", "bare", "all"]
HELD_OUT = 0.3
"""Share of the prompts that fidelity is measured on."""
LEAST = 20
"""Texts below which neither a fit nor a measurement means anything."""
_SPREAD = 0.3
"""Standard deviation that features enter tanh or gelu with, where both are nearly straight."""


@dataclass(frozen=True)
class Scalar:
    """What a fit gave."""

    made: Any
    tokenizer_pad: str
    views: dict[View, list[Encoded]]
    """Held-out texts as the exported model will see them."""
    rewards: Floats
    """What the model itself says of these texts."""
    expected: dict[View, Floats]
    """What the fitted layer gave for them, before the export was written."""
    fitted_on: int
    penalty: float
    reads: str
    """Pooling of the classifier."""


def fit_scalar(
    scorer: RewardScorer, texts: Sequence[Sampled], seed: int, layout: Layout = "trained"
) -> Scalar:
    """Fit the layer by ridge regression, its penalty chosen by cross-validation over prompts.

    Args:
        scorer: of the model.
        texts: half of them or more are fitted, the rest is measured on.
        seed: of the prompts that are held out.
        layout: fit on texts in this one, or in all of them. Where they look different to the
            model, a fit on all follows none of them closely.

    Raises:
        UserError: too few texts or prompts, or a layout that this model does not tell apart.
    """
    scores = scorer.score_batch([t.prompt for t in texts], [t.response for t in texts])
    rows = [i for i, score in enumerate(scores) if score.reward is not None]
    groups = sorted({texts[i].group for i in rows})
    if len(rows) < LEAST or len(groups) < 4:
        raise UserError(
            f"{len(rows)} texts of {len(groups)} prompts with a reward",
            expected=f"at least {LEAST} texts of at least 4 prompts, to fit and to measure",
            mend="name a larger file with --data; some hundreds of texts make a good fit",
        )
    random.Random(f"{seed}:held out").shuffle(groups)
    held = set(groups[: max(1, round(HELD_OUT * len(groups)))])
    bundle_model, tokenizer = scorer.model, scorer.tokenizer
    made = empty_classifier(_bundle(scorer), 1)
    fresh = load_backbone(made, bundle_model)
    reads = _match_pooling(made, bundle_model.config.pooling)
    views = _views(scorer.builder, [texts[i] for i in rows], bundle_model.config.window)
    # Texts on end finish with any token at all; padding must be none of those either.
    ends = [one.input_ids[-1] for encoded in views.values() for one in encoded]
    pad = safe_padding(tokenizer, made, ends)
    nn.Module.to(made, scorer.device)
    layer = _straighten(made, fresh, views["trained"], tokenizer.pad_token_id)
    features = {name: _features(made, layer, encoded, tokenizer) for name, encoded in views.items()}
    rewards = np.array([scores[i].reward for i in rows], dtype=np.float64)
    of = np.array([texts[i].group for i in rows])
    test = np.array([group in held for group in of])
    if layout != "all" and layout not in features:
        raise UserError(
            f"--layout {layout}, which is no other than one of {', '.join(features)}",
            expected="one that this model's tokenizer tells apart",
        )
    fitted = [values[~test] for name, values in features.items() if layout in ("all", name)]
    weight, bias, penalty = _ridge(
        np.concatenate(fitted),
        np.tile(rewards[~test], len(fitted)),
        np.tile(of[~test], len(fitted)),
        intercept=made.get_submodule(layer).bias is not None,
    )
    _set_layer(made, layer, weight, bias)
    return Scalar(
        made,
        pad,
        {name: [one for one, t in zip(enc, test, strict=True) if t] for name, enc in views.items()},
        rewards[test],
        {name: values[test] @ weight + bias for name, values in features.items()},
        int((~test).sum()),
        penalty,
        reads,
    )


def fidelity(found: Floats, rewards: Floats) -> dict[str, float | None]:
    """How well a scalar follows the reward: R2 and Spearman's rank correlation; None where
    there are not two rewards that differ, so that there is nothing to follow.
    """
    from scipy.stats import spearmanr

    # Equal rewards may differ in the last bit of their mean.
    if len(rewards) < 2 or np.ptp(rewards) < 1e-9:
        return {"r2": None, "spearman": None}
    spread = float(((rewards - rewards.mean()) ** 2).sum())
    r2 = 1 - float(((found - rewards) ** 2).sum()) / spread
    rank = float(spearmanr(found, rewards).statistic) if np.ptp(found) > 0 else 0.0
    return {"r2": r2, "spearman": rank}


def _bundle(scorer: RewardScorer) -> Any:
    from reward_model.model.folder import Bundle

    return Bundle(scorer.model, scorer.tokenizer, scorer.rubric, scorer.builder)


def _match_pooling(made: Any, pooling: str) -> str:
    """Which token the classifier reads. ModernBERT's can also read the mean, which is what the
    backbone was trained for.
    """
    if hasattr(made.config, "classifier_pooling"):
        made.config.classifier_pooling = "mean" if pooling in OVER_ALL else "cls"
        return str(made.config.classifier_pooling)
    return "last" if hasattr(made, "score") else "cls"


def _views(
    builder: InputBuilder, texts: Sequence[Sampled], window: int | None
) -> dict[View, list[Encoded]]:
    tokenizer = builder.tokenizer
    longest = min(builder.max_length, window or builder.max_length)
    # No classifier of transformers reads in windows or adds evidence.
    plain = InputBuilder(
        tokenizer,
        longest,
        max_prompt_length=builder.max_prompt_length,
        input_format=builder.input_format,
        template_date=builder.template_date,
    )
    names: tuple[View, ...] = ("text", "bare")
    views: dict[View, list[Encoded]] = {
        "trained": plain.build([t.prompt for t in texts], [t.response for t in texts])
    }
    if builder.input_format == "chat":
        return views
    for name in names:
        rows = []
        for one in texts:
            ids = tokenizer(
                as_text(one.prompt) + as_text(one.response),
                add_special_tokens=name == "text",
                split_special_tokens=True,
                verbose=False,
            )["input_ids"]
            # What does not fit loses its beginning: the response stands at the end.
            rows.append(Encoded(ids[-longest:], None, len(ids) > longest, False))
        before = list(views.values())[-1]
        if any(a.input_ids != b.input_ids for a, b in zip(rows, before, strict=True)):
            views[name] = rows
    return views


def _straighten(made: Any, fresh: list[str], encoded: Sequence[Encoded], pad: int) -> str:
    """Find the layer to fit; a fresh square layer before it lets its input through, scaled to where
    the activation behind it is nearly straight. Gives the layer's name.
    """
    inside = {name for name, _ in getattr(made, made.base_model_prefix).named_parameters()}
    known = {f"{made.base_model_prefix}.{name}" for name in inside} - set(fresh)
    linear = {
        name: module
        for name, module in made.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" not in known
    }
    last: list[str] = [name for name, module in linear.items() if module.out_features == 1]
    if len(last) != 1:
        raise UserError(
            f"a {made.config.model_type} classifier without one last linear layer",
            expected="one such as BERT's, ModernBERT's or a decoder's",
            mend="use --to onnx, or reward-model serve",
        )
    for name, module in linear.items():
        if name == last[0] or module.in_features != module.out_features:
            continue
        seen: list[Tensor] = []
        hook = module.register_forward_pre_hook(lambda _, args, into=seen: into.append(args[0]))
        outputs(_run(made), encoded[:64], pad)
        hook.remove()
        spread = float(torch.cat([part.flatten() for part in seen]).float().std())
        with torch.no_grad():
            nn.init.eye_(module.weight).mul_(_SPREAD / max(spread, 1e-6))
            if module.bias is not None:
                module.bias.zero_()
    return last[0]


def _run(made: Any) -> Any:
    def run(batch: dict[str, Tensor]) -> Tensor:
        device = next(made.parameters()).device
        logits: Tensor = made(**{name: value.to(device) for name, value in batch.items()}).logits
        return logits

    return run


def _features(made: Any, layer: str, encoded: Sequence[Encoded], tokenizer: Any) -> Floats:
    """What the last layer reads: the classifier is run with nothing in that layer's place."""
    parent, _, name = layer.rpartition(".")
    owner = made.get_submodule(parent)
    kept = getattr(owner, name)
    setattr(owner, name, nn.Identity())
    try:
        found = outputs(_run(made), encoded, tokenizer.pad_token_id)
    finally:
        setattr(owner, name, kept)
    values: Floats = found.double().numpy()
    return values


def _ridge(
    features: Floats, target: Floats, groups: Any, *, intercept: bool
) -> tuple[Floats, float, float]:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold

    scale = features.std(0) if intercept else np.sqrt((features**2).mean(0))
    scale = np.where(scale > 1e-8, scale, 1.0)
    folds = min(5, len(set(groups.tolist())))
    search = GridSearchCV(
        Ridge(fit_intercept=intercept),
        {"alpha": np.logspace(-3, 5, 17)},
        cv=GroupKFold(folds),
        scoring="neg_mean_squared_error",
    )
    search.fit(features / scale, target, groups=groups)
    best = search.best_estimator_
    bias = float(best.intercept_) if intercept else 0.0
    return best.coef_ / scale, bias, float(best.alpha)


def _set_layer(made: Any, layer: str, weight: Floats, bias: float) -> None:
    last = made.get_submodule(layer)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight)[None])
        if last.bias is not None:
            last.bias.fill_(bias)
