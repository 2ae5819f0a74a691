"""What a training run starts from: texts divided by group, base model, encoded data sets.

`prepare(config)` reads and checks everything and writes nothing, so that a mistake costs seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, set_seed

from reward_model.checks import VERSION
from reward_model.data.columns import read_columns
from reward_model.data.counterexamples import counterexamples
from reward_model.data.dataset import (
    MultiDimRewardDataset,
    Sample,
    Samples,
    get_label_distribution,
    label_array,
    take,
)
from reward_model.data.labels import label_warnings
from reward_model.data.reading import find_rubric, judge_rubric, read_samples
from reward_model.data.split import (
    Part,
    Split,
    fingerprint,
    parse_hold_out,
    shared_data_lines,
    split_groups,
    ties_of,
)
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.model.adapter import plain
from reward_model.model.batches import pad_id
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.records import IGNORE, UserError, as_text
from reward_model.records.cache import cache_root
from reward_model.rubrics import Rubric
from reward_model.train.base import Base, find_base, fresh_heads, length_heads
from reward_model.train.config import TINY, TrainConfig, rate_words, usual_rate
from reward_model.train.lora import add_lora
from reward_model.train.machine import check_machine, device_words, precision_words
from reward_model.train.processes import processes
from reward_model.train.steps import pair_words

OPTIMISTIC = 0.5
"""From this share of lines with figures in common, held-out prompts are about known companies."""


@dataclass(frozen=True)
class TrainTexts:
    """What a run reads."""

    rubric: Rubric
    samples: Samples
    """All of the file."""
    split: Split
    parts: dict[Part, Sequence[Sample]]
    remarks: list[str]
    untrained: list[str]
    """Dimensions without a label to train on."""


@dataclass(frozen=True)
class TrainRun:
    """A run, ready to start."""

    config: TrainConfig
    """Its settings; the learning rate is a number also where none was asked for."""
    rubric: Rubric
    split: Split
    train: MultiDimRewardDataset
    validation: MultiDimRewardDataset
    test_texts: int
    tokenizer: Any
    model: MultiDimRewardModel
    """With LoRA: a PeftModel around it, which reaches through to its attributes."""
    remarks: list[str]
    """What the reader of any number from this run should know."""
    copies: dict[str, int]
    """Kind -> counterexamples of it, which are the last of the training texts."""

    @property
    def originals(self) -> MultiDimRewardDataset:
        """The training texts without counterexamples."""
        made = sum(self.copies.values())
        return self.train.take(range(len(self.train) - made)) if made else self.train


def divide(config: TrainConfig) -> TrainTexts:
    """Read the texts and split them by group.

    Raises:
        UserError: whatever is wrong with the data.
    """
    if config.eval_share + config.test_share >= 1:
        raise UserError(
            f"eval_share {config.eval_share} and test_share {config.test_share}",
            expected="something left to train on: together below 1",
        )
    layout = read_columns(config.columns) if config.columns else None
    cache_dir = config.cache_dir
    rubric = find_rubric(config.scored, config.rubric, columns=layout, cache_dir=cache_dir)

    def read(path: Path) -> tuple[Samples, int]:
        soft = config.labels == "soft"
        return read_samples(path, rubric, columns=layout, soft=soft, cache_dir=cache_dir)

    samples, bare = read(config.scored)
    remarks = [f"{bare} records carry no score and were left out"] if bare else []
    validation = 0.0 if config.eval_file else config.eval_share
    shares: dict[Part, float] = {
        "train": 1 - validation - config.test_share,
        "validation": validation,
        "test": config.test_share,
    }
    seed = config.seed if config.split_seed is None else config.split_seed
    split = split_groups(samples, shares, seed, parse_hold_out(config.hold_out))
    parts: dict[Part, Sequence[Sample]] = {
        part: split.select(samples, part) for part in split.groups
    }
    if config.eval_file:
        other, _ = read(config.eval_file)
        part_of = split.parts_of(other)
        kept = [
            part != "test" and not split.holds_out(sample)
            for sample, part in zip(other, part_of, strict=True)
        ]
        if not any(kept):
            raise UserError(
                "no text that may be validated on",
                expected="texts outside of the test groups, and of kinds that are trained on",
                path=config.eval_file,
            )
        parts["validation"] = take(other, kept)
        if tested := sum(part == "test" for part in part_of):
            remarks.append(
                f"{tested} texts of {config.eval_file.name} share a group, a company or a prompt "
                "with the test part and are left out of validation"
            )
        groups = {sample.group for sample in other}
        seen = {s.group for s, part in zip(other, part_of, strict=True) if part == "train"}
        away = {s.group for s, part in zip(other, part_of, strict=True) if part == "test"}
        trained = groups & seen
        if trained:
            remarks.append(
                f"{len(trained)} of the {len(groups)} groups of {config.eval_file.name} are "
                "trained on as well: validation numbers are optimistic"
            )
        own = sorted(groups - trained - away)
        ties = {t for s, part in zip(other, part_of, strict=True) if not part for t in ties_of(s)}
        found = {
            "groups": {**split.groups, "validation": own},
            "ties": {**split.ties, "validation": sorted(ties)},
            "validation": fingerprint(other),
        }
        split = split.model_copy(update=found)
    split = split.model_copy(update={"rubric": rubric.id})
    judged = judge_rubric(config.scored, columns=layout, cache_dir=cache_dir)
    if judged and judged != rubric.id:
        remarks.append(
            f"the levels were given by {judged}, and weights and names are of {rubric.id}"
        )
    if split.hold_out:
        unused = sum(split.holds_out(s) for s in samples) - sum(map(split.holds_out, parts["test"]))
        remarks.append(
            f"{', '.join(config.hold_out)} is never trained on: {unused} texts outside the test "
            "groups are not used"
        )
    remarks += label_warnings(get_label_distribution(parts["train"], rubric), rubric)
    held_out = itertools.chain(parts["validation"], parts["test"])
    common = shared_data_lines(parts["train"], held_out)
    if common >= OPTIMISTIC:
        remarks.append(
            f"{common:.0%} of the lines with figures in held-out prompts are in training prompts "
            "too: they are about the same companies, so held-out numbers are optimistic"
        )
    if empty := sum(not as_text(sample.response).strip() for sample in parts["train"]):
        remarks.append(
            f"{empty} training texts are empty: they teach nothing that is asked of a model, which "
            "gives no reward for an empty response; remove them"
        )
    rubric, untrained = without_untrained(rubric, parts["train"])
    if untrained:
        remarks.append(
            f"{', '.join(untrained)}: no labels to train on, so the head is untrained and its "
            "weight in the reward is 0"
        )
    if config.pair_weight or config.gap_weight:
        remarks += pair_words(parts["train"], rubric)
    return TrainTexts(rubric, samples, split, parts, remarks, untrained)


def without_untrained(rubric: Rubric, train: Sequence[Sample]) -> tuple[Rubric, list[str]]:
    """The rubric in which dimensions without a label weigh nothing, and their names.

    A head that never saw a label says what its random numbers say, and would keep its share of the
    reward.

    Raises:
        UserError: nothing with a weight is left.
    """
    labelled = (label_array(train) != IGNORE).any(0)
    untrained = [name for name, there in zip(rubric.names, labelled, strict=True) if not there]
    if not untrained:
        return rubric, []
    if not any(rubric.weights[name] for name in set(rubric.names) - set(untrained)):
        weighty = ", ".join(name for name in rubric.names if rubric.weights[name])
        raise UserError(
            f"no training text with a label on {weighty}",
            expected="labels on a dimension that has a weight in the reward",
        )
    content = rubric.model_dump(mode="json", exclude_unset=True)
    for dimension in content["dimensions"]:
        if dimension["name"] in untrained:
            dimension["weight"] = 0.0
    return Rubric.model_validate(content), untrained


def prepare(
    config: TrainConfig, texts: TrainTexts | None = None, checkpoint: Path | None = None
) -> TrainRun:
    """Load the base model and encode the texts; writes nothing.

    Args:
        config, texts: of the run, where these are read already.
        checkpoint: that it goes on from, if it does.

    Raises:
        UserError: whatever is wrong with settings, data or base model.
    """
    check_machine(config)
    texts = texts or divide(config)
    words = [*texts.remarks, *precision_words(config), *device_words()]
    rubric, parts = texts.rubric, texts.parts
    # Every draw below (tiny backbone, heads) follows from the seed.
    set_seed(config.seed)
    with find_base(config, parts["train"], checkpoint) as base:
        builder = InputBuilder(
            base.tokenizer,
            config.max_length,
            max_prompt_length=config.max_prompt_length,
            evidence=config.evidence,
            input_format=base.input_format,
        )
        heads = _model_config(config, texts, base, builder)
        model: Any = base.model(heads, config)
        if fresh := fresh_heads(base, heads):
            words.append(
                f"{', '.join(fresh)}: {base.name_or_path} has no head of this name, kind and "
                "number of levels, so a new one begins at random"
            )
        if config.lora_rank:
            model = add_lora(model, config, base.name_or_path)
        words += rate_words(config, sum(p.numel() for p in model.parameters() if p.requires_grad))
        if config.learning_rate is None:
            size = sum(p.numel() for p in plain(model).backbone.parameters())
            config = config.model_copy(update={"learning_rate": usual_rate(config, size)})
    made: list[Sample] = []
    copies: dict[str, int] = {}
    if config.counterexamples:
        share, seed = config.counterexamples, config.seed
        made, copies = counterexamples(parts["train"], share, rubric, seed)
        words.append(
            f"{len(made)} counterexamples beside {len(parts['train'])} training texts: "
            + ", ".join(f"{count} {kind}" for kind, count in copies.items())
        )
    train_set, validation = _encoded(texts, builder, config, made)
    _check_ids(model, base.tokenizer, (train_set, validation))
    return TrainRun(
        config,
        rubric,
        texts.split,
        train_set,
        validation,
        len(parts["test"]),
        base.tokenizer,
        model,
        words + _code_words(model) + _truncation_words(train_set),
        copies,
    )


def _check_ids(model: Any, tokenizer: Any, data: Sequence[MultiDimRewardDataset]) -> None:
    """A tokenizer with more tokens than the model has rows would fail in the middle of a step.

    Raises:
        UserError: some text has such a token.
    """
    table: Any = plain(model).get_input_embeddings()
    rows = table.num_embeddings
    ids = [one.encoded.largest for one in data if one.encoded is not None and len(one)]
    largest = max([*ids, pad_id(tokenizer)])
    if largest >= rows:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise UserError(
            f"token {largest} ({token!r}) in the texts, and embeddings of {rows} tokens",
            expected="a tokenizer and a base model that belong together",
            mend="take the tokenizer of this model, or enlarge the model with "
            "resize_token_embeddings and save it again",
        )


def _encoded(
    texts: TrainTexts, builder: InputBuilder, config: TrainConfig, made: Sequence[Sample]
) -> tuple[MultiDimRewardDataset, MultiDimRewardDataset]:
    """Training texts, those made of them at the end, and validation texts, with token ids."""
    rubric, train, validation = texts.rubric, texts.parts["train"], texts.parts["validation"]
    if made:
        train = [*train, *made]
    # The vocabulary of a tiny model is its training texts' own: nobody would find it again.
    root = None if config.base_model == TINY else cache_root(config.cache_dir)
    if root is None or made:
        return (
            MultiDimRewardDataset(train, rubric, builder),
            MultiDimRewardDataset(validation, rubric, builder),
        )
    with processes().main_process_first():
        # The whole file, whatever the split: another seed finds the same token ids.
        whole = MultiDimRewardDataset(texts.samples, rubric, builder, cache=root)
        return whole.take(texts.split.rows(texts.samples, "train")), (
            MultiDimRewardDataset(validation, rubric, builder, cache=root)
            if config.eval_file
            else whole.take(texts.split.rows(texts.samples, "validation"))
        )


def _model_config(
    config: TrainConfig, texts: TrainTexts, base: Base, builder: InputBuilder
) -> MultiDimRewardConfig:
    return MultiDimRewardConfig.for_rubric(
        texts.rubric,
        untrained=texts.untrained,
        pooling=config.pooling or base.pooling,
        head=config.head,
        head_dropout=config.head_dropout,
        head_type=config.head_type,
        head_activation=config.head_activation,
        head_width=config.head_width,
        length_heads=length_heads(base, config, texts.rubric, texts.untrained),
        max_input_length=config.max_length,
        max_prompt_length=config.max_prompt_length,
        evidence=config.evidence,
        evidence_version=VERSION if config.evidence == "checks" else None,
        input_format=builder.input_format,
        template_date=builder.template_date,
        window=config.window,
    )


def _code_words(model: MultiDimRewardModel) -> list[str]:
    kind = model.config.backbone_config.model_type
    if kind in CONFIG_MAPPING:
        return []
    return [
        f"the base model's code ({kind}) is not kept: its classes have to be "
        "named to transformers (AutoConfig.register, AutoModel.register) before best/ loads"
    ]


def _truncation_words(dataset: MultiDimRewardDataset) -> list[str]:
    cut = dataset.truncation()
    words = []
    if cut["prompt"]:
        words.append(f"{cut['prompt']:.0%} of the prompts lost their middle to fit")
    if cut["response"] >= 0.005:
        sides = [
            f"{cut[f'response_{s}']:.0%} of {s}"
            for s in ("chosen", "rejected", "single")
            if f"response_{s}" in cut
        ]
        words.append(
            f"{cut['response']:.0%} of the responses are too long and lost their middle "
            f"({', '.join(sides)}); a larger --max-length keeps more"
        )
    return words
