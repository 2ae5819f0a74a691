"""Settings of a training run: defaults, a TOML file over them, flags over both.

`resolve(scored, output_dir, config_file, flags)` is what the command calls; the result is written
to `train_config.json` of the output folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reward_model.data.counterexamples import MOST
from reward_model.records import UserError, read_object
from reward_model.records.settings import parse_settings, read_toml

TINY = "tiny"
"""Base model built in place: a small encoder with a tokenizer learned from the training texts."""

_TINY_DEFAULTS: dict[str, Any] = {
    "learning_rate": 5e-3,
    "epochs": 16.0,
    "batch_size": 16,
    "max_length": 2560,
    "max_prompt_length": 0,
    "class_weights": "sqrt",
    "probe": False,
}
"""Random weights learn from larger steps and more passes than pretrained ones would stand; a
prompt tells the same to both sides, which a model of words alone cannot relate to the response.
Heads fitted on random weights are steep: steps this large through them ended less calibrated."""


LORA_RATE = 2e-4
"""Fresh matrices beside frozen weights stand larger steps than the weights themselves would: the
rate of LoRA's and QLoRA's own runs (arXiv 2106.09685, D; 2305.14314, B)."""

RATES = ((50_000_000, 1e-4), (10**9, 3e-5), (30 * 10**9, 1e-5), (None, 5e-6))
"""Learning rate of all weights where there are fewer than so many. Encoders of 4 to 42 million were
tuned at 3e-5 to 3e-4 (arXiv 1908.08962), BERT of 110 and 340 million at 2e-5 to 5e-5 (arXiv
1810.04805, A.3), Llama 2's reward models at 1e-5, at 70 billion weights 5e-6 (arXiv 2307.09288,
3.2.2)."""
LARGE = 10**9
"""Weights from which on a larger rate than that of `RATES` is remarked on."""


def usual_rate(config: TrainConfig, weights: int) -> float:
    """The learning rate of a run that asks for none.

    Args:
        config: settings.
        weights: of the backbone.

    >>> config = TrainConfig(scored=Path("scored.jsonl"))
    >>> [usual_rate(config, int(n)) for n in (22e6, 307e6, 8e9, 70e9)]
    [0.0001, 3e-05, 1e-05, 5e-06]
    """
    if config.lora_rank:
        return LORA_RATE
    return next(rate for below, rate in RATES if below is None or weights < below)


def rate_words(config: TrainConfig, weights: int) -> list[str]:
    """What is said of a learning rate that does not suit the size of what trains.

    Args:
        config: settings.
        weights: that train.

    >>> config = TrainConfig(scored=Path("scored.jsonl"), learning_rate=3e-5)
    >>> rate_words(config, 300_000_000)
    []
    >>> rate_words(config, 8_000_000_000)[0][:57]
    'learning_rate 3e-05 for all 8.0 billion weights: 1e-05 or'
    """
    given, usual = config.learning_rate, usual_rate(config, weights)
    if weights < LARGE or given is None or given <= usual or config.lora_rank:
        return []
    return [
        f"learning_rate {given:g} for all {weights / 1e9:.1f} billion weights: "
        f"{usual:g} or less is usual for so many (arXiv 2307.09288, 3.2.2); leave out --lr, or "
        "train adapters with --lora-rank 16"
    ]


_OF_A_MODEL = {
    "max_length": "max_input_length",
    **{name: name for name in ("max_prompt_length", "evidence", "window", "pooling", "head")},
    **{name: name for name in ("head_dropout", "head_type", "head_activation", "head_width")},
}
"""Setting -> where the configuration of a trained model has it; `init` takes them over."""


def _as_words(given: Any) -> Any:
    return str(given) if isinstance(given, Path) else given


class TrainConfig(BaseModel):
    """A training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scored: Path
    """Scored pairs or single responses (JSONL)."""
    output_dir: Path = Path("outputs/multidim")
    """Folder for checkpoints, the best model, split and metrics."""
    base_model: str = "jhu-clsp/mmBERT-base"
    """Local folder or hub id of an encoder or decoder, or `tiny`. The default reads Chinese and
    English, 8,192 tokens, under the MIT licence."""
    init: Path | None = None
    """Folder of a trained reward model to go on from instead of a base model: its backbone, its
    heads of dimensions that the rubric names as well, and how it reads texts."""
    rubric: str | None = None
    """Shipped name or path; default: what the judge of the file names, else financial_report."""

    columns: Annotated[str | None, BeforeValidator(_as_words)] = None
    """Column map for rows of another shape, a TOML file or one line; see docs/formats.md."""
    labels: Literal["hard", "soft"] = "hard"
    """`soft`: where the judge was asked several times, its draws' shares of the levels are learned
    instead of the one level they were joined to."""

    eval_file: Path | None = None
    """Validate on this file; then nothing of `scored` is held out for validation."""
    eval_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the texts, by whole groups, that picks the best checkpoint."""
    test_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the texts, by whole groups, that nothing here looks at; `evaluate` uses it."""

    hold_out: tuple[str, ...] = ()
    """Kinds that never train nor validate, whatever their group: `degradation=generic_wording`,
    `field=...`, `language=...`. The test part keeps them, so `evaluate` shows how they go."""

    max_length: int = Field(default=1024, ge=8)
    """Tokens of prompt and response together."""
    window: int | None = Field(default=None, ge=16)
    """Read longer texts in windows of at most so many tokens, each on its own, and pool over all of
    them: for backbones with few positions."""
    max_prompt_length: int | None = Field(default=None, ge=0)
    """Most tokens of the prompt; none: what the response leaves; 0: no prompt."""
    evidence: Literal["none", "checks"] = "none"
    """`checks`: what was verified in the response stands before it, at training and scoring."""
    pooling: Literal["mean", "rms", "cls", "last"] | None = None
    """None: `mean` for encoders, `rms` (a mean of squares, under a root) for `tiny`, `last` for
    decoders, the only token that has read everything."""
    head: Literal["multi", "shared"] = "multi"
    """One head a dimension, or one for all."""
    head_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout inside the heads."""
    head_type: Literal["mlp", "linear"] = "mlp"
    """`linear`: one layer without bias instead of two. With `pooling = "last"` such a model can be
    exported to transformers' own classifiers exactly; see docs/export.md."""
    head_activation: Literal["relu", "tanh", "gelu"] = "relu"
    """Between the two layers of a head."""
    head_width: int | None = Field(default=None, ge=1)
    """Units between the two layers; none: half as many as the backbone is wide."""
    length_heads: list[str] | None = None
    """Dimensions whose heads also read how many tokens the response has; none: those that describe
    a text and carry no weight in the reward (`verbosity`, `complexity`), where the heads of two
    layers read a mean over tokens, which does not tell it."""

    counterexamples: float = Field(default=0.0, ge=0, le=MOST)
    """Copies for each training text: its words in no order and salad at level 0, and the text in
    another layout at its own levels, a third each."""
    probe: bool = True
    """Heads begin where logistic regressions on the pooled vectors of the untrained backbone end,
    and the model as it is then may be the best one: first the head, then all of it (arXiv
    2202.10054)."""

    epochs: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Passes over the training texts."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after so many optimiser steps instead."""
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Peak of the schedule; none: by kind and size of the base model (`usual_rate`)."""
    head_learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Peak for the heads, which start from nothing where the backbone does not; none: the same."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the rate falls after warm-up."""
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """AdamW's."""
    max_grad_norm: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Gradients are clipped to it; 0 does not clip."""
    batch_size: int = Field(default=16, ge=1)
    """Texts of an optimiser step, over all devices."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Most tokens a device takes at once, with padding where there is any; changes memory and
    speed, never the result. None: 4,096 on a CPU, 32,768 on a GPU."""
    backbone_dropout: bool = False
    """Keep the dropout that the backbone was pretrained with: several times slower on a CPU, where
    attention with dropout has no fast kernel."""
    class_weights: Literal["none", "sqrt", "balanced"] = "none"
    """`balanced`: rare levels count more, in inverse proportion to how often they occur; `sqrt`:
    to the root of that, which costs less accuracy on the common ones."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target given to the other levels, near ones first."""
    pair_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of a pairwise (Bradley-Terry) term on the expected level of both sides of a pair."""
    gap_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the squared error of the gap in expected level inside a pair, mean over the
    dimensions: what the two sides have in common cancels."""

    center_rewards: bool = False
    """Store mean and standard deviation of the reward on the validation texts, of the training
    texts where there are none, for rewards that are centred: `score --centered` and the like."""

    best_metric: Literal["qwk", "loss", "accuracy", "pair_accuracy"] = "qwk"
    """What picks the best checkpoint: quadratic weighted kappa, mean over the dimensions, counts a
    miss by two levels four times a miss by one."""
    eval_steps: int | None = Field(default=None, ge=1)
    """Steps between evaluations and checkpoints; none: once an epoch."""
    patience: int = Field(default=0, ge=0)
    """Stop after this many evaluations without gain; 0 never stops early."""

    lora_rank: int = Field(default=0, ge=0)
    """Train small matrices of this rank beside a frozen backbone; 0 trains all of it."""
    lora_alpha: int | None = Field(default=None, ge=1)
    """What the matrices add is multiplied by alpha / rank; none: twice the rank, so that the rate
    need not follow the rank."""
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout of what the matrices read."""
    lora_targets: Literal["all-linear"] | list[str] = "all-linear"
    """Every linear layer of the backbone, or those of these names, such as `["query", "value"]`."""
    load_in_4bit: bool = False
    """QLoRA: the frozen backbone is kept in 4 bits (NF4), an eighth of the memory of float32."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """`adamw_8bit` keeps its state in a quarter of the memory; slow without a GPU."""
    trust_remote_code: bool = False
    """Run the code that comes with `base_model`, for models that transformers does not have."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of weights, dropout and order, and of the split where `split_seed` does not say."""
    split_seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Of the split alone: runs with several seeds then hold out the same texts."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 on a GPU that has it, else fp32 (bf16 crawls on a CPU without it)."""
    gradient_checkpointing: bool | None = None
    """Keep the inputs of layers alone and compute the rest again: less memory for a third more
    time. None: where a GPU would not hold the rest."""
    attention: str | None = None
    """`sdpa`, `flash_attention_2`, `eager`; none: transformers chooses what the machine has."""
    cache_dir: str | None = None
    """Folder that keeps token ids between runs; none: `multidim-reward` in the user's cache folder;
    `"none"` keeps nothing."""
    logging_steps: int = Field(default=10, ge=1)
    """Steps between two reports of the loss."""
    report_to: str = "none"
    """`tensorboard`, `wandb`, `trackio`, ... as transformers names them."""


def _of_model(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """How a trained model reads texts and what its heads are."""
    for name in ("base_model", "lora_rank"):
        if given.get(name):
            raise UserError(
                f"init and {name}",
                expected="a base model, or a trained one to go on from, all of whose weights train",
                mend=f"leave out one of --init and --{name.replace('_', '-')}",
            )
    known = read_object(folder / "config.json") or {}
    found = {name: known[at] for name, at in _OF_A_MODEL.items() if at in known}
    return {**found, "base_model": str(folder)}


def resolve(
    scored: Path, output_dir: Path | None, config: Path | None, flags: Mapping[str, Any]
) -> TrainConfig:
    """Defaults, then the file, then the flags that were given.

    Raises:
        UserError: every mistake in file and flags at once.
    """
    values = read_toml(config) if config else {}
    given = {name: value for name, value in flags.items() if value is not None}
    if output_dir is not None:
        given["output_dir"] = output_dir
    merged = {**values, **given, "scored": scored}
    if merged.get("init"):
        merged = {**_of_model(Path(merged["init"]), merged), **merged}
    elif merged.get("base_model") == TINY:
        merged = {**_TINY_DEFAULTS, **merged}
    what = "the settings that docs/train.md lists"
    settings = parse_settings(merged, TrainConfig, what, path=config, flags=given)
    _check_idle(settings, {**values, **given})
    return settings


def _check_idle(s: TrainConfig, given: Mapping[str, Any]) -> None:
    """Settings that were given and would do nothing.

    Raises:
        UserError: naming them.
    """
    said = {name for name, value in given.items() if value}
    unseen = s.eval_file is None and s.eval_share == 0
    lora = said & {"lora_alpha", "lora_dropout", "lora_targets"}
    layers = said & {"head_activation", "head_width"}
    picked = said & {"patience", "best_metric"}
    for idle, found, expected in (
        (s.eval_file is not None and "eval_share" in given, "eval_share beside eval_file",
         "one of them: a share of the texts, or a file of others"),
        (picked and unseen, f"{' and '.join(sorted(picked))} without validation texts",
         "an eval_share above 0, or an eval_file"),
        (s.init is not None and "probe" in said, "probe beside init",
         "one of them: the heads of a trained model are not fitted anew"),
        (lora and not s.lora_rank, f"{', '.join(sorted(lora))} without lora_rank",
         "LoRA, which they are of: lora_rank = 16"),
        (layers and s.head_type == "linear", f"{', '.join(sorted(layers))} with linear heads",
         'heads of two layers: head_type = "mlp"'),
    ):  # fmt: skip
        if idle:
            raise UserError(found, expected=expected)
