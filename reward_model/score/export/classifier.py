"""Exact export to transformers' own sequence classifiers, where one computes the very same.

`classifier_of(bundle)` gives the model, or says why there is none: no approximation is made here.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from reward_model.model.folder import Bundle
from reward_model.model.network import LevelHead, MultiDimRewardModel
from reward_model.model.quiet import quiet
from reward_model.records import UserError

_TWO_LAYERS: dict[str, tuple[str, str, str]] = {
    "bert": ("bert.pooler.dense", "classifier", "tanh"),
    "roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
    "xlm-roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
    "camembert": ("classifier.dense", "classifier.out_proj", "tanh"),
    "electra": ("classifier.dense", "classifier.out_proj", "gelu"),
    "distilbert": ("pre_classifier", "classifier", "relu"),
    "deberta-v2": ("pooler.dense", "classifier", ""),
}
"""Type of backbone -> first and second layer on its first token, and what is between them; DeBERTa
takes any from its configuration."""
WAY_OUT = "export one scalar instead: --to scalar --data SCORED"


def classifier_of(bundle: Bundle) -> Any:
    """A `*ForSequenceClassification` with D x K labels that gives the model's own logits.

    Temperatures are divided into the last layer. `logits.view(B, D, K)` are the heads.

    Raises:
        UserError: transformers' classifier for this backbone computes something else.
    """
    model, config = bundle.model, bundle.model.config
    kind = config.backbone_config.model_type
    if config.length_heads:
        raise _inexact(
            f"heads that read the length of the response ({', '.join(config.length_heads)})",
            "heads that read the pooled vector alone",
            "train with length_heads = []",
        )
    if config.head_type == "linear":
        _expect(config.pooling == "last", f"linear heads on {config.pooling} pooling")
        out, dense, activation = "score", "", ""
    else:
        if kind not in _TWO_LAYERS:
            raise _inexact(
                f"heads of two layers on a {kind} backbone",
                "classifiers of two layers are those of " + ", ".join(_TWO_LAYERS),
            )
        _expect(config.pooling == "cls", f"{config.pooling} pooling on a {kind} backbone")
        dense, out, activation = _TWO_LAYERS[kind]
        if activation not in {"", config.head_activation}:
            raise _inexact(
                f"heads with {config.head_activation}",
                f"{activation}, which the classifier of {kind} has",
                f'train with head_activation = "{activation}"',
            )
        heads = len(model.heads)
        width = _heads(model)[0].out.in_features
        hidden = config.backbone_config.hidden_size
        if width * heads > hidden:
            raise _inexact(
                f"{heads} heads of {width} units each",
                f"at most {hidden} units together, the width of the backbone",
                f"train with head_width = {hidden // heads}",
            )
    made = empty_classifier(bundle, model.config.num_levels * len(model.config.dimensions))
    if kind == "deberta-v2":
        made.config.pooler_hidden_act = config.head_activation
    load_backbone(made, model)
    weight, bias = _last_layer(model)
    with torch.no_grad():
        if dense:
            first = _layer(made, dense)
            _copy_rows(first, [head.dense for head in _heads(model)])
        last = _layer(made, out)
        last.weight.zero_()
        last.weight[:, : weight.shape[1]] = weight
        for name, values in last.named_parameters():
            if name == "bias":
                values.copy_(torch.zeros_like(values) if bias is None else bias)
    return made


def empty_classifier(bundle: Bundle, labels: int) -> Any:
    """transformers' classifier of the backbone with fresh weights.

    Raises:
        UserError: transformers has none.
    """
    settings = copy.deepcopy(bundle.model.config.backbone_config)
    kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(settings), None)
    if kind is None:
        raise UserError(
            f"a {settings.model_type} backbone",
            expected="one that transformers has a sequence classifier for",
            mend="use --to onnx, or reward-model serve",
        )
    settings.num_labels = labels
    # Servers leave the outputs of a regression as they are; others they put through a softmax.
    settings.problem_type = "regression"
    settings.dtype = torch.float32
    config = bundle.model.config
    if labels == 1:
        names = ["reward"]
    else:
        names = [f"{d}={level}" for d in config.dimensions for level in range(config.num_levels)]
    settings.id2label = dict(enumerate(names))
    settings.label2id = {name: i for i, name in enumerate(names)}
    settings.reward_model = {
        "rubric": config.rubric,
        "dimensions": config.dimensions,
        "num_levels": config.num_levels,
        "weights": config.weights,
        "input_format": config.input_format,
        "template_date": config.template_date,
        "max_input_length": config.max_input_length,
        "evidence": config.evidence,
    }
    with quiet():
        made: Any = kind(settings)
    made.eval()
    return made


def load_backbone(made: Any, model: MultiDimRewardModel) -> list[str]:
    """Put the trained backbone into a classifier; the weights that it has beyond the backbone's.

    Raises:
        UserError: it is built differently.
    """
    inner = getattr(made, made.base_model_prefix)
    found = inner.load_state_dict(model.backbone.state_dict(), strict=False)
    if found.unexpected_keys:
        raise UserError(
            f"a backbone with {found.unexpected_keys[0]}",
            expected="the one inside transformers' classifier of its type",
        )
    return [f"{made.base_model_prefix}.{name}" for name in found.missing_keys]


def _heads(model: MultiDimRewardModel) -> list[LevelHead]:
    return [head for head in model.heads if isinstance(head, LevelHead)]


def _last_layer(model: MultiDimRewardModel) -> tuple[Tensor, Tensor | None]:
    """Weight (D x K, width of all heads) and bias (D x K) with the temperatures in them."""
    config = model.config
    heads = _heads(model)
    weights = [head.out.weight.detach().float() for head in heads]
    # Linear heads read the same vector; those of two layers each their own units.
    weight = torch.cat(weights) if config.head_type == "linear" else torch.block_diag(*weights)
    known = config.temperatures or {}
    temperatures = torch.tensor([known.get(name, 1.0) for name in config.dimensions])
    temperatures = temperatures.repeat_interleave(config.num_levels).to(weight.device)
    if config.head_type == "linear":
        return weight / temperatures[:, None], None
    bias = torch.cat([head.out.bias.detach().float() for head in heads])
    return weight / temperatures[:, None], bias / temperatures


def _copy_rows(first: nn.Linear, layers: list[Any]) -> None:
    """Layers that read the same vector, one under the other; what is left over stays zero."""
    first.weight.zero_()
    first.bias.zero_()
    at = 0
    for layer in layers:
        end = at + layer.out_features
        first.weight[at:end] = layer.weight
        first.bias[at:end] = layer.bias
        at = end


def _layer(made: Any, name: str) -> nn.Linear:
    found: Any = dict(made.named_modules()).get(name)
    if not isinstance(found, nn.Linear):
        raise _inexact(
            f"a {made.config.model_type} backbone",
            f"a classifier with one linear layer called {name}, as those of decoders have",
        )
    return found


def _expect(fine: bool, found: str) -> None:
    if not fine:
        raise _inexact(
            found,
            "linear heads on the last token (decoders), or heads of two layers on the first "
            "(pooling = cls): transformers' classifiers pool nothing else",
        )


def _inexact(found: str, expected: str, mend: str = "") -> UserError:
    ways = f"{mend}; or {WAY_OUT}" if mend else WAY_OUT
    return UserError(f"{found}, which has no exact export", expected=expected, mend=ways)
