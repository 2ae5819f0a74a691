"""Settings of a policy run: methods, losses, names; flags over a TOML file over defaults.

`resolve(data, file, flags)` is what the command calls; the result is written to `run.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from reward_model.policy.rows import Kind
from reward_model.records import UserError
from reward_model.records.settings import parse_settings, read_toml


class Method(NamedTuple):
    """How one method trains."""

    kind: Kind
    """What a row of its data holds."""
    config: str
    """TRL's configuration, `module:class`."""
    trainer: str
    """TRL's trainer, or ours on it."""
    rate: float
    """Learning rate of all weights where none is given: a starting point from recipes."""
    lora_rate: float
    beta: float | None
    """Strength of the tie to the reference where none is given."""
    reference: bool
    """It is compared with a reference."""
    online: bool = False
    """It answers prompts itself and needs a reward."""


_DPO = "trl:DPOConfig"
_OURS = "reward_model.policy.training.trainer:PreferenceTrainer"
METHODS: dict[str, Method] = {
    "sft": Method("answers", "trl:SFTConfig", "trl:SFTTrainer", 2e-5, 2e-4, None, False),
    "dpo": Method("pairs", _DPO, "trl:DPOTrainer", 5e-7, 5e-5, 0.1, True),
    "orpo": Method("pairs", _DPO, _OURS, 8e-6, 5e-5, 0.1, False),
    "simpo": Method("pairs", _DPO, _OURS, 8e-6, 5e-5, 2.0, False),
    "kto": Method("labelled", "trl:KTOConfig", "trl:KTOTrainer", 5e-7, 5e-5, 0.1, True),
    "grpo": Method("prompts", "trl:GRPOConfig", "trl:GRPOTrainer", 1e-6, 5e-5, 0.0, True, True),
    "rloo": Method("prompts", "trl:RLOOConfig", "trl:RLOOTrainer", 1e-6, 5e-5, 0.05, True, True),
    "online-dpo": Method(
        "prompts",
        "trl.experimental.online_dpo:OnlineDPOConfig",
        "trl.experimental.online_dpo:OnlineDPOTrainer",
        5e-7,
        5e-5,
        0.1,
        True,
        True,
    ),
}
"""Rates and betas where none is given."""

TRL_LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
    "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
OWN_LOSSES = ("pref_po",)
PER_TOKEN = {"sipa", "pref_po", "sigmoid_norm"}
"""Losses of mean log-probabilities a token, which want a beta of 1 to 10."""
ALPHA = {"sipa": 0.05, "pref_po": 0.1}
"""Losses with a second term, and its weight where none is given."""


class PolicyConfig(BaseModel):
    """A run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    """File, folder or data set of the hub."""
    method: Literal["sft", "dpo", "orpo", "simpo", "kto", "grpo", "rloo", "online-dpo"] = "dpo"
    base_model: str = Field(min_length=1)
    """Folder, run or hub id of what is trained."""
    loss: str = "sigmoid"
    """Of dpo: TRL's names, `sipa` or `pref_po`; several with weights: `sigmoid_norm,sft=0.05`."""
    beta: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Strength of the tie to the reference; none: by method and loss."""
    alpha: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Weight of the second term of `sipa` and `pref_po`."""
    gamma: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Margin that SimPO asks for."""
    reference: str | None = None
    """Folder of another reference than the base."""
    preference: str | None = None
    """p of `pref_po`: a text, a file of text, or a tensor of virtual tokens."""
    virtual_tokens: str | None = None
    """Train only so many virtual tokens, or those of a tensor `[n, H]`."""
    lora_rank: int = Field(default=0, ge=0)
    """LoRA of this rank on every linear layer; 0 trains all weights."""
    lora_alpha: int | None = Field(default=None, ge=1)
    """None: twice the rank."""
    load_in_4bit: bool = False
    """QLoRA: the frozen weights in 4 bits (NF4)."""

    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """None: by method, for all weights or LoRA."""
    batch_size: int = Field(default=16, ge=1)
    """Rows of a step, over all devices; of grpo and rloo answers."""
    device_batch: int | None = Field(default=None, ge=1)
    """Most rows a device takes at once; memory, not result."""
    max_length: int = Field(default=1024, ge=16)
    """Tokens of prompt and answer together."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Of an answer that the policy gives while it trains or is watched."""
    max_rows: int | None = Field(default=None, ge=1)
    """Draw so many rows, by seed."""
    max_eval_rows: int | None = Field(default=None, ge=1)
    """Most rows of an evaluation during training."""
    eval_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows, by whole groups, that evaluations during training look at."""
    test_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows, by whole groups, that nothing here looks at; `evaluate` takes them."""
    eval_steps: int | None = Field(default=None, ge=1)
    """Steps between evaluations and checkpoints; none: once an epoch."""
    instruction: str | None = None
    """What rows without a prompt answer."""
    rewards: tuple[str, ...] = ()
    """Of online training: `MODEL`, `MODEL#depth`, `MODEL#*`, `file.py:function`, each `=WEIGHT`."""
    risk: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Standard deviations that each reward of a model loses: mean - risk x sd."""
    centered: bool = False
    """Rewards of models less their mean on reference texts, over the standard deviation, as
    `calibrate --rewards` stored them."""
    watch: str | None = None
    """Keep the checkpoint whose samples this reward likes best."""
    gold: str | None = None
    """With `watch`: keep by this second model instead."""
    watch_prompts: int = Field(default=32, ge=1)
    """Prompts that are answered at each evaluation."""
    patience: int = Field(default=0, ge=0)
    """With `watch`: stop after so many evaluations without gain; 0 never stops early."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 on a GPU that has it, else fp32."""
    project: str | None = None
    """Folder of runs; none: `{data}_{loss}_{Text|Emb}`."""
    name: str | None = None
    """Of the run; none: `{data}-{Text|Emb}-{model}-{loss}-beta{b}[-alpha{a}]`."""
    output_dir: Path | None = None
    """Folder of the run; none: `outputs/policies/{project}/{name}`."""
    trl: dict[str, Any] = Field(default_factory=dict)
    """Fields of TRL's configuration, by its own names."""

    @property
    def how(self) -> Method:
        """The method's row of the table."""
        return METHODS[self.method]

    @property
    def objective(self) -> str:
        """What is minimised, as names say it: the loss of dpo, else the method."""
        if self.method != "dpo":
            return self.method
        return "+".join(name for name, _ in losses(self.loss)) if self.loss != "sigmoid" else "dpo"

    @property
    def embeds(self) -> bool:
        """Virtual tokens learn, nothing else."""
        return self.virtual_tokens is not None

    @property
    def adapted(self) -> bool:
        """The base's own weights are frozen."""
        return self.embeds or self.lora_rank > 0

    @property
    def rate(self) -> float:
        """The learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return self.how.lora_rate if self.adapted else self.how.rate

    @property
    def strength(self) -> float | None:
        """Beta."""
        if self.beta is not None or self.how.beta is None:
            return self.beta
        return 2.0 if self.objective in PER_TOKEN else self.how.beta

    @property
    def second(self) -> float | None:
        """Alpha of losses that have one."""
        found = ALPHA.get(self.objective)
        return found if found is None or self.alpha is None else self.alpha

    @property
    def label(self) -> str:
        """Name of the run."""
        if self.name:
            return self.name
        parts = [_data(self.data), self._mode, model_name(self.base_model), self.objective]
        if self.strength is not None:
            parts.append(f"beta{self.strength:g}")
        if self.second is not None:
            parts.append(f"alpha{self.second:g}")
        return "-".join(parts)

    @property
    def group(self) -> str:
        """Name of the folder of runs."""
        return self.project or f"{_data(self.data)}_{self.objective}_{self._mode}"

    @property
    def folder(self) -> Path:
        """Where the run is written to."""
        return self.output_dir or Path("outputs/policies") / self.group / self.label

    @property
    def _mode(self) -> str:
        given = self.preference or ""
        tensor = given.endswith((".pt", ".safetensors")) or Path(given[:255] or "-").is_dir()
        return "Emb" if self.embeds or tensor else "Text"


def losses(text: str) -> list[tuple[str, float]]:
    """Names and weights of a loss.

    >>> losses("sigmoid_norm,sft=0.05")
    [('sigmoid_norm', 1.0), ('sft', 0.05)]

    Raises:
        UserError: an unknown name, or a weight that is no number.
    """
    found: list[tuple[str, float]] = []
    for part in text.split(","):
        name, _, weight = (p.strip() for p in part.partition("="))
        name = "sigmoid" if name == "dpo" else name
        known = (*TRL_LOSSES, "sipa", *OWN_LOSSES)
        if name not in known:
            raise UserError(
                f"loss {name!r}", expected=f"one of dpo's: {', '.join(known)}", mend="see --loss"
            )
        try:
            found.append((name, float(weight or 1)))
        except ValueError:
            raise UserError(f"weight {weight!r} of loss {name}", expected="NAME=NUMBER") from None
    if len(found) > 1 and any(name in ("sipa", *OWN_LOSSES) for name, _ in found):
        raise UserError(f"loss {text!r}", expected="sipa and pref_po alone: they have terms enough")
    return found


def _data(place: str) -> str:
    path = Path(place.rstrip("/"))
    return re.sub(r"[^\w.]+", "_", path.name if path.is_dir() else path.stem) or "data"


def model_name(place: str) -> str:
    """A model's name without its owner and what it was tuned for.

    >>> model_name("Qwen/Qwen2.5-1.5B-Instruct"), model_name("outputs/policies/P/run/best")
    ('Qwen2.5-1.5B', 'run')
    """
    path = Path(place.rstrip("/"))
    name = path.parent.name if path.name in ("best", "adapter") and path.parent.name else path.name
    return re.sub(r"-(instruct|chat)$", "", name, flags=re.IGNORECASE)


def resolve(data: str, config: Path | None, flags: Mapping[str, Any]) -> PolicyConfig:
    """Defaults, then the file, then the flags that were given.

    Raises:
        UserError: every mistake in file and flags at once, or settings that contradict each other.
    """
    values = read_toml(config) if config is not None else {}
    given = {name: value for name, value in flags.items() if value is not None}
    merged = {**values, **given, "data": data}
    if "trl" in given and isinstance(values.get("trl"), dict):
        merged["trl"] = {**values["trl"], **given["trl"]}
    if merged.get("method") == "ppo":
        raise UserError(
            "method ppo, which TRL gave up after 1.12",
            expected="rloo, which optimises the same reward without a value model",
            mend="or install the extra ppo in an environment of its own and start from "
            "docs/examples/ppo.py",
        )
    what = "settings as docs/policies.md lists them"
    settings = parse_settings(merged, PolicyConfig, what, path=config, flags=given)
    _check(settings, {name for name, value in merged.items() if value is not None})
    return settings


def _check(s: PolicyConfig, given: Set[str]) -> None:
    """What no single setting shows, and what was given and would do nothing."""
    wrong: list[tuple[bool, str, str]] = [
        (s.method != "dpo" and s.loss != "sigmoid", f"--loss {s.loss} with --method {s.method}",
         "--method dpo, whose loss it is"),
        (s.how.online and not s.rewards, f"--method {s.method} without a reward",
         "--reward MODEL, the folder of a trained reward model"),
        (bool(s.rewards) and not s.how.online, f"--reward with --method {s.method}",
         "grpo, rloo or online-dpo; to choose the checkpoint by reward, --watch"),
        (s.risk > 0 and not s.rewards, "--risk without --reward",
         "the model whose reward it lowers"),
        (s.centered and not s.rewards, "--centered without --reward",
         "the model whose rewards are centred"),
        (s.preference is not None and s.objective != "pref_po", "--preference without pref_po",
         "--loss pref_po, whose p it is"),
        (s.preference is None and s.objective == "pref_po", "--loss pref_po without --preference",
         "its p: an instruction, or a tensor of virtual tokens"),
        (s.embeds and s.lora_rank > 0, "--virtual-tokens with --lora-rank",
         "one of the two: virtual tokens learn alone"),
        (s.load_in_4bit and not s.lora_rank, "--load-in-4bit without --lora-rank",
         "LoRA on frozen 4-bit weights: add --lora-rank 16"),
        (s.gold is not None and s.watch is None, "--gold without --watch",
         "--watch, the reward that is trained on"),
        (s.patience > 0 and s.watch is None, "--patience without --watch",
         "--watch, which says whether the policy gets better"),
        (s.watch is not None and s.eval_share == 0, "--watch with eval_share 0",
         "prompts to watch: leave out --eval-share"),
        ("gamma" in given and s.objective != "simpo", "--gamma without simpo",
         "--method simpo, whose margin it is"),
        ("alpha" in given and s.objective not in ALPHA, f"--alpha with {s.objective}",
         f"a loss with a second term: {', '.join(ALPHA)}"),
        ("beta" in given and s.how.beta is None, f"--beta with --method {s.method}",
         "a method with a reference or a margin to weigh"),
        (s.lora_alpha is not None and not s.lora_rank, "lora_alpha without --lora-rank",
         "LoRA, whose matrices it weighs"),
        (s.max_eval_rows is not None and s.eval_share == 0, "--max-eval-rows with eval_share 0",
         "rows to look at: leave out --eval-share"),
        ("watch_prompts" in given and s.watch is None, "watch_prompts without --watch",
         "--watch, which asks them"),
        (s.project is not None and s.output_dir is not None, "--project beside --output-dir",
         "one of the two: where the run is written to"),
        (s.how.online and s.embeds, f"--virtual-tokens with --method {s.method}",
         "sft, dpo, orpo, simpo or kto"),
        (s.reference is not None and not s.how.reference,
         f"--reference with --method {s.method}, which has none", "no --reference"),
        (s.reference is not None and s.method in ("grpo", "rloo"),
         f"--reference with --method {s.method}, whose reference is its base", "no --reference"),
        (s.method == "kto" and (s.batch_size < 2 or s.device_batch == 1),
         "kto with one row at a time", "at least 2 rows: its KL is taken over other rows' answers"),
    ]  # fmt: skip
    for found, what, expected in wrong:
        if found:
            raise UserError(what, expected=expected)
    if s.method == "dpo":
        losses(s.loss)
