"""The model: a backbone, pooling, and one K-class head a dimension of the rubric.

`MultiDimRewardModel.from_backbone(folder, config)` starts from a pretrained encoder or decoder;
`MultiDimRewardModel.from_pretrained(folder)` reads a trained one back (safetensors, no code in it).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils.generic import ModelOutput

from reward_model.model.backbone import load_backbone, without_pooler
from reward_model.model.losses import level_cross_entropy
from reward_model.model.packed import OVER_ALL, Pooling, packed_hidden, pool_packed
from reward_model.model.padded import _flush_left, into_windows, pool, pool_windows
from reward_model.model.rows import TokenRow
from reward_model.records import IGNORE
from reward_model.rubrics import Rubric

Head = Literal["multi", "shared"]
HeadType = Literal["mlp", "linear"]
Activation = Literal["relu", "tanh", "gelu"]


class MultiDimRewardConfig(PreTrainedConfig):
    """Everything that scoring has to know, saved as `config.json` of the model folder."""

    model_type = "multidim_reward"
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "predicted_labels",
        "accuracy",
        "per_dim_accuracy",
    ]

    def __init__(
        self,
        backbone_config: dict[str, Any] | PreTrainedConfig | None = None,
        dimensions: list[str] | None = None,
        num_levels: int = 5,
        weights: dict[str, float] | None = None,
        rubric: str = "",
        pooling: Pooling = "mean",
        head: Head = "multi",
        head_dropout: float = 0.1,
        head_type: HeadType = "mlp",
        head_activation: Activation = "relu",
        head_width: int | None = None,
        length_heads: list[str] | None = None,
        max_input_length: int = 1024,
        max_prompt_length: int | None = None,
        evidence: Literal["none", "checks"] = "none",
        evidence_version: int | None = None,
        input_format: Literal["pair", "chat", "plain"] = "pair",
        template_date: str | None = None,
        window: int | None = None,
        temperatures: dict[str, float] | None = None,
        untrained: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(backbone_config, dict):
            backbone_config = AutoConfig.for_model(**backbone_config)
        self.backbone_config = backbone_config
        """Configuration of the backbone."""
        self.dimensions = list(dimensions or [])
        """Names of the heads, in the order of `logits`."""
        self.num_levels = num_levels
        """K: levels are 0..K-1."""
        self.weights = dict(weights or {})
        """Dimension -> share in the scalar reward; they sum to 1."""
        self.rubric = rubric
        """`name@digest` of the rubric it was trained on."""
        self.pooling = pooling
        self.head = head
        self.head_dropout = head_dropout
        if head_type not in get_args(HeadType) or head_activation not in get_args(Activation):
            raise ValueError(f"heads of type {head_type} with {head_activation}: not known")
        self.head_type = head_type
        """`mlp`: two layers; `linear`: one without bias, as transformers' own classifiers on
        decoders have it, so that the model can be exported to one exactly."""
        self.head_activation = head_activation
        """Between the two layers."""
        self.head_width = head_width
        """Units between the two layers; None: half as many as the backbone is wide."""
        self.length_heads = list(length_heads or [])
        """Dimensions whose heads also read how long the response is: a mean over tokens does not
        carry it, and it is most of what ratings of verbosity say."""
        if self.length_heads and head != "multi":
            raise ValueError("length_heads need a head a dimension")
        self.max_input_length = max_input_length
        """Tokens of prompt, evidence and response together (`max_length` is a generation setting,
        which transformers refuses in a model's configuration)."""
        self.max_prompt_length = max_prompt_length
        """Most tokens the prompt may take; None: whatever the response leaves."""
        self.evidence = evidence
        """`checks`: what reward_model.checks verified stands before the response."""
        self.evidence_version = evidence_version
        """Which checker worded the evidence of its training (`reward_model.checks.VERSION`);
        None: one from before versions were kept, or no evidence."""
        self.input_format = input_format
        """How prompt and response are joined; see reward_model.data.tokens.inputs."""
        self.template_date = template_date
        """What the chat template prints as the date of the day, where it prints one."""
        if window and pooling not in OVER_ALL:
            raise ValueError(f"{pooling} pooling of windows: it reads one of them")
        self.window = window
        """Longer texts are read in windows of at most so many tokens; None: as a whole."""
        if any(not one > 0 for one in (temperatures or {}).values()):
            raise ValueError(f"temperatures {temperatures} are not all above 0")
        self.temperatures = temperatures
        """Dimension -> what its logits are divided by, from `reward-model calibrate`; None: 1."""
        self.untrained = list(untrained or [])
        """Dimensions that no training text had a label for; their heads are random."""
        super().__init__(**kwargs)

    @classmethod
    def for_rubric(cls, rubric: Rubric, **settings: Any) -> MultiDimRewardConfig:
        """The heads that `rubric` asks for."""
        return cls(
            dimensions=list(rubric.names),
            num_levels=rubric.classes,
            weights=dict(rubric.weights),
            rubric=rubric.id,
            **settings,
        )


@dataclass
class MultiDimRewardOutput(ModelOutput):
    """B texts, D dimensions, K levels."""

    loss: Tensor | None = None
    """Cross-entropy, mean over the labels that are there."""
    logits: Tensor | None = None
    """(B, D, K)"""
    predicted_labels: Tensor | None = None
    """(B, D) most likely level."""
    accuracy: Tensor | None = None
    """Share of the labels that are there and predicted; NaN without any."""
    per_dim_accuracy: Tensor | None = None
    """(D,) the same by dimension."""
    pooled: Tensor | None = None
    """(B, H) vectors of the texts, where only these were asked for."""


class LevelHead(nn.Module):
    """Linear(H, H/2), ReLU, Dropout, Linear(H/2, out); or Dropout, Linear(H, out) without bias."""

    def __init__(self, hidden: int, out: int, config: MultiDimRewardConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.head_dropout)
        self.activation = config.head_activation
        width = config.head_width or hidden // 2
        linear = config.head_type == "linear"
        self.dense = None if linear else nn.Linear(hidden, width)
        self.out = nn.Linear(hidden if linear else width, out, bias=not linear)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, H) -> (B, out)"""
        if self.dense is not None:
            pooled = _ACTIVATIONS[self.activation](self.dense(pooled))
        logits: Tensor = self.out(self.dropout(pooled))
        return logits


def with_length(pooled: Tensor, answer_tokens: Tensor | None) -> Tensor:
    """(B, H) and (B,) tokens of the responses -> (B, H + 1); the logarithm to base 2 is the last.

    Raises:
        ValueError: nothing says how long the responses are.
    """
    if answer_tokens is None:
        raise ValueError("some heads read how long a response is: pass answer_tokens (B,)")
    length = torch.log2(1 + answer_tokens.to(pooled)).unsqueeze(1)
    return torch.cat([pooled, length], 1)


_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu}


class MultiDimRewardModel(PreTrainedModel):
    """Scores a text on every dimension of a rubric at once."""

    config_class = MultiDimRewardConfig
    base_model_prefix = "backbone"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    # Levels are decided by small differences of logits, which half precision would round away.
    _keep_in_fp32_modules_strict = ["heads"]  # noqa: RUF012 - as transformers declares it

    def __init__(self, config: MultiDimRewardConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        if config.backbone_config is None or not config.dimensions:
            raise ValueError("a MultiDimRewardConfig needs a backbone_config and dimensions")
        if backbone is None:
            backbone = AutoModel.from_config(
                config.backbone_config, **without_pooler(config.backbone_config)
            )
        self.backbone = backbone
        # A backbone that reads images as well keeps the sizes of its text part inside.
        hidden = config.backbone_config.get_text_config().hidden_size
        dims, levels = len(config.dimensions), config.num_levels
        self.vector_size = hidden + bool(config.length_heads)
        """Numbers of a pooled vector, of which the last is the length where some head reads it."""
        reads = [name in config.length_heads for name in config.dimensions]
        self._inputs = [hidden + one for one in reads] if config.head == "multi" else [hidden]
        out = levels if config.head == "multi" else dims * levels
        self.heads = nn.ModuleList(LevelHead(size, out, config) for size in self._inputs)
        # RoBERTa-like and decoder classes differ in what they take; asking saves a list of names.
        takes = inspect.signature(backbone.forward).parameters
        # A table of one kind has no row for the second text; it is added to every token then.
        kinds = getattr(config.backbone_config, "type_vocab_size", None)
        self._takes_types = "token_type_ids" in takes and (kinds is None or kinds > 1)
        self._takes_cache = "use_cache" in takes
        self.post_init()
        # Units of sharding. Not the embeddings: accelerate makes a unit of the token table inside
        # them, and nothing can be in two.
        units = self._no_split_modules or set()
        self._no_split_modules = {name for name in units if "Embedding" not in name}

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str,
        config: MultiDimRewardConfig,
        *,
        backbone_dropout: bool = True,
        **kwargs: Any,
    ) -> MultiDimRewardModel:
        """Pretrained backbone, fresh heads. Weights are float32 unless `dtype` says otherwise.

        Args:
            name_or_path: folder or hub id of the backbone.
            config: of the heads and the input.
            backbone_dropout: keep the dropout the backbone was pretrained with.
            kwargs: for `AutoModel.from_pretrained`.

        Raises:
            UserError: weights of the backbone that the files do not have, which would be random.
        """
        backbone = load_backbone(name_or_path, dropout=backbone_dropout, **kwargs)
        config.backbone_config = backbone.config
        return cls(config, backbone=backbone)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LevelHead):
            for layer in module.children():
                if isinstance(layer, nn.Linear):
                    # Outputs as large as inputs (LeCun et al., Efficient BackProp, 1998, 4.6):
                    # the first logits are of order 1 however wide the backbone is.
                    nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)

    def get_input_embeddings(self) -> nn.Module:
        """The backbone's token embeddings."""
        embeddings: nn.Module = self.backbone.get_input_embeddings()
        return embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        row: TokenRow | None = None,
        pooled_only: bool = False,
        soft_labels: Tensor | None = None,
        answer_tokens: Tensor | None = None,
        **kwargs: Any,
    ) -> MultiDimRewardOutput:
        """Score B texts of at most T tokens.

        Args:
            input_ids: (B, T)
            attention_mask: (B, T), 1 for text and 0 for padding on whichever side; without one
                every token is text.
            labels: (B, D) levels, -100 where there is none.
            token_type_ids: (B, T), for encoders that tell prompt from response.
            num_items_in_batch: labels in the whole optimiser step, when gradients are accumulated.
            row: how the one row of `input_ids` divides into texts, where they stand side by side
                instead of padded; see reward_model.model.packed.
            pooled_only: stop before the heads, which `score_pooled` runs.
            soft_labels: (B, D, K) shares of the levels, learned instead of the one in `labels`,
                which still says where there is none.
            answer_tokens: (B,) tokens of each response, where some head reads lengths; a row has
                its own.
            kwargs: `use_cache` and `return_dict`, which trainers pass to any model.

        Raises:
            TypeError: an argument that nothing here reads, such as a misspelt one.
        """
        unknown = sorted(kwargs.keys() - {"use_cache", "return_dict"})
        if unknown:
            raise TypeError(f"MultiDimRewardModel.forward() reads no {', '.join(unknown)}")
        if not self._takes_types:
            token_type_ids = None
        if row is not None:
            hidden = packed_hidden(self.backbone, input_ids, token_type_ids, row)
            pooled = pool_packed(hidden, row, self.config.pooling)
        else:
            pooled = self._padded(input_ids, attention_mask, token_type_ids)
        if self.config.length_heads:
            if row is not None:
                answer_tokens = torch.tensor(row.answers, device=pooled.device)
            pooled = with_length(pooled, answer_tokens)
        if pooled_only:
            return MultiDimRewardOutput(pooled=pooled)
        return self._output(pooled, labels, soft_labels, num_items_in_batch)

    def _padded(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> Tensor:
        """(B, T) -> (B, H)"""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        input_ids, attention_mask, token_type_ids = _flush_left(
            input_ids, attention_mask, token_type_ids
        )
        texts, owner = len(input_ids), None
        if self.config.window and input_ids.shape[1] > self.config.window:
            input_ids, attention_mask, token_type_ids, owner = into_windows(
                input_ids, attention_mask, token_type_ids, self.config.window
            )
        # Keys and values are kept for generation; here they would only fill memory.
        extra: dict[str, Any] = {"use_cache": False} if self._takes_cache else {}
        if self._takes_types and token_type_ids is not None:
            extra["token_type_ids"] = token_type_ids
        hidden = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **extra
        ).last_hidden_state
        if owner is None:
            return pool(hidden, attention_mask, self.config.pooling)
        return pool_windows(hidden, attention_mask, owner, texts, self.config.pooling)

    def _output(
        self,
        pooled: Tensor,
        labels: Tensor | None,
        soft_labels: Tensor | None,
        num_items: Tensor | int | None,
    ) -> MultiDimRewardOutput:
        logits = self.score_pooled(pooled)
        loss = accuracy = per_dim = None
        if labels is not None:
            loss = level_cross_entropy(logits, labels, soft_labels=soft_labels, num_items=num_items)
            right = (logits.argmax(-1) == labels) & (labels != IGNORE)
            there = labels != IGNORE
            per_dim = right.sum(0) / there.sum(0)
            accuracy = right.sum() / there.sum()
        return MultiDimRewardOutput(
            loss=loss,
            logits=logits,
            predicted_labels=logits.argmax(-1),
            accuracy=accuracy,
            per_dim_accuracy=per_dim,
        )

    def score_pooled(self, pooled: Tensor) -> Tensor:
        """(B, H or H + 1) -> logits (B, D, K), calibrated.

        In float32 whatever the backbone runs in.
        """
        with torch.autocast(pooled.device.type, enabled=False):
            # Levels differ by tenths of a logit; bfloat16 has 8 bits for all of it.
            pooled = pooled.to(next(self.heads.parameters()).dtype)
            read = zip(self.heads, self._inputs, strict=True)
            flat = torch.cat([head(pooled[:, :size]) for head, size in read], dim=-1).float()
        logits = flat.view(pooled.shape[0], len(self.config.dimensions), self.config.num_levels)
        known = self.config.temperatures
        if not known:
            return logits
        temperatures = [known.get(name, 1.0) for name in self.config.dimensions]
        return logits / logits.new_tensor(temperatures)[:, None]
