"""The card of a preference data set.

`card(config)` is README.md from the resolved configuration and its counts; `UPLOADED` is what of
the folder goes to a hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reward_model.records.hub import size_category

UPLOADED = ["README.md", "train.jsonl", "config.json"]
_COLUMNS = {
    "kto": "`prompt`, `completion`, `label`",
    "grpo": "`prompt`",
}
_TRAINERS = {
    "kto": "TRL's KTOTrainer",
    "grpo": "TRL's GRPOTrainer, RLOOTrainer and OnlineDPOTrainer",
}
_FROM = {
    "model": "a reward model scored every completion",
    "reward_model": "scores that `reward-model score` had written",
    "scores": "levels that a judge gave to both sides of each pair",
    "answers": "levels that a judge gave to every completion",
}


def card(config: Mapping[str, Any]) -> str:
    """README.md with the header that hubs and `load_dataset` read."""
    counts, to = config["counts"], config["to"]
    kind = "prompts" if to == "grpo" else "preferences"
    lines = [
        *_header(config),
        f"# {kind.capitalize()} by reward",
        "",
        f"{counts['written']} rows with the columns {_COLUMNS.get(to, _PAIR)}, as "
        f"{_TRAINERS.get(to, _PAIR_TRAINERS)} read them:",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'dataset = load_dataset("path/to/this/folder", split="train")',
        "```",
        "",
        "## How it was made",
        "",
        f"- Rewards: {_FROM[config['rewards_from']]}.",
        f"- Input: {_code(config['input']['name'])}, sha256 "
        f"{_code(config['input']['digest'])}; {counts['rows_read']} rows, "
        f"{counts['completions']} completions of {counts['prompts']} prompts or pairs.",
    ]
    if config.get("model"):
        lines.append(
            f"- Model: {_code(config['model']['name'])}, digest {_code(config['model']['digest'])}."
        )
    if config.get("rubric"):
        lines.append(f"- Rubric: {_code(config['rubric'])}.")
    if config.get("weights"):
        shares = ", ".join(f"{_plain(n)} {share:.2f}" for n, share in config["weights"].items())
        lines.append(f"- Weights of the dimensions: {shares}.")
    if config.get("risk"):
        lines.append(f"- Reward: mean less {config['risk']:g} standard deviations.")
    lines += _choice(config)
    lines += ["", "## What was left out", ""]
    left = [
        f"- {count} {what}: {_plain(reason)}"
        for what in ("completions", "pairs", "rows")
        for reason, count in counts[f"dropped_{what}"].items()
    ]
    lines += left or ["Nothing."]
    lines += [
        "",
        "## Licence",
        "",
        "None is stated here. It is that of the prompts and of the models that wrote and judged "
        "the completions: find it out and add `license:` to the header before you share this.",
    ]
    return "\n".join(lines) + "\n"


_PAIR = "`prompt`, `chosen`, `rejected`, `margin`"
_PAIR_TRAINERS = "TRL's DPO, ORPO, CPO and (with `margin`) Reward trainers"


def _header(config: Mapping[str, Any]) -> list[str]:
    counts = config["counts"]
    size = size_category(counts["written"])
    languages = [name for name in ("en", "zh") if counts["languages"].get(name)]
    out = ["---", "configs:", "- config_name: default", "  data_files:"]
    out += ["  - split: train", "    path: train.jsonl", "size_categories:", f"- {size}"]
    if languages:
        out += ["language:", *(f"- {name}" for name in languages)]
    tags = ["rlhf", "reward-model", config["to"]]
    if config["to"] != "grpo":
        tags.insert(0, "preference")
    return [*out, "tags:", *(f"- {tag}" for tag in tags), "---", ""]


def _choice(config: Mapping[str, Any]) -> list[str]:
    counts = config["counts"]
    filters = []
    if config["min_margin"]:
        filters.append(f"a margin of at least {config['min_margin']:g}")
    if config["z"]:
        filters.append(f"a margin of at least {config['z']:g} standard deviations of it")
    wanted = " and ".join(filters)
    if config["threshold"] is not None:
        lines = [f"- Desirable: a reward of {config['threshold']:g} and above."]
        if wanted:
            lines.append(f"- Filter: {wanted}, from the threshold.")
    elif config["to"] == "grpo":
        lines = [f"- Prompts whose completions show {wanted}." if wanted else "- All prompts."]
    elif config["rewards_from"] == "scores":
        lines = [
            "- Pairs as they were made; ties, and those the judge saw the other way, left out."
        ]
        if wanted:
            lines.append(f"- Filter: {wanted}.")
    else:
        ways = {
            "best-worst": "the best and the worst completion of each prompt",
            "best-random": f"the best and a worse one drawn by seed {config['seed']}",
            "all": "every two completions of a prompt",
        }
        lines = [f"- Pairs: {ways[config['how']]}; ties left out."]
        if wanted:
            lines.append(f"- Filter: {wanted}.")
    if counts["mean_margin"] is not None:
        lines.append(f"- Mean margin: {counts['mean_margin']:.3f} (rewards are in 0 to 1).")
    if counts["desirable"] is not None:
        lines.append(f"- Desirable: {counts['desirable']} of {counts['written']}.")
    return lines


def _code(value: object) -> str:
    return "`" + re.sub(r"[`|<>\r\n]", "", str(value)) + "`"


def _plain(value: object) -> str:
    return re.sub(r"[`|<>\r\n\[\]]", "", str(value))
