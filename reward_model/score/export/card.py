"""What an export says of itself: the README.md of its folder, and the lines on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VIEWS = {
    "trained": "laid out as in training",
    "text": "prompt + response on end, with special tokens (vLLM, rewardbench)",
    "bare": "prompt + response on end, without special tokens (TRL's trainers)",
}
_FORMATS = {
    "pair": "`tokenizer(prompt, response)`: two segments",
    "chat": "the chat template, with the response as the assistant's message",
    "plain": "prompt, an empty line, response, end-of-text token",
}


def card(result: Mapping[str, Any]) -> str:
    """README.md of the folder."""
    to = result["to"]
    names = ", ".join(result["dimensions"])
    levels, count = result["levels"], len(result["dimensions"])
    lines = [f"# Reward model as {_KINDS[to]}", ""]
    lines.append(
        f"Made of the model `{result['model']['name']}` (digest `{result['model']['digest']}`, "
        f"rubric `{result['rubric']}`), which judges {names} on levels 0 to {levels - 1}."
    )
    lines += ["", "## Use", "", *_use(result, count, levels)]
    lines += ["", "## Inputs", "", *_inputs(result["input"])]
    if "padding" in result:
        lines += [
            "",
            f"Padding is `{result['padding']}`, which ends no text: transformers' classifiers on "
            "decoders read the right-most token that is not padding.",
        ]
    lines += ["", "## Measured", "", *_measured(result), ""]
    return "\n".join(lines)


_KINDS = {
    "sequence-classification": "a sequence classifier",
    "scalar": "one scalar",
    "onnx": "an ONNX graph",
}


def _use(result: Mapping[str, Any], count: int, levels: int) -> list[str]:
    if result["to"] == "onnx":
        return [
            "```python",
            "import numpy as np",
            "import onnxruntime",
            "from transformers import AutoTokenizer",
            "",
            'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
            'session = onnxruntime.InferenceSession("path/to/this/folder/model.onnx")',
            "names = [one.name for one in session.get_inputs()]",
            *_encode(result["input"]),
            "(logits,) = session.run(None, {name: batch[name] for name in names})",
            "```",
            "",
            f"`logits` is [texts, {count}, {levels}]; a softmax over the last axis gives the "
            "distribution over the levels, calibrated where the model is. Padding may be on "
            "either side. Keep `model.onnx.data` beside `model.onnx`.",
        ]
    load = [
        "```python",
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
        "",
        'model = AutoModelForSequenceClassification.from_pretrained("path/to/this/folder")',
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
        "```",
        "",
    ]
    if result["to"] == "scalar":
        return [
            *load,
            "`logits[:, 0]` is the reward, meant to lie in 0 to 1. The folder is also what TRL "
            "takes as a reward model by its path, and what vLLM serves as `/classify` "
            "(`problem_type` is regression, so no softmax is put on it).",
        ]
    return [
        *load,
        f"`logits.view(-1, {count}, {levels})` are the heads; a softmax over the last axis gives "
        "the distribution over the levels, calibrated where the model is. `problem_type` is "
        "regression, so that servers leave the logits alone: a softmax over all "
        f"{count * levels} labels would mean nothing.",
        "",
        "Do not give this folder to a trainer as a scalar reward: it would read the first logit "
        "alone. Export with `--to scalar` for that.",
    ]


def _encode(given: Mapping[str, Any]) -> list[str]:
    """Lines that make the tokens of one text as the model was trained to read them."""
    length = ['batch["answer_tokens"] = np.array([len(said)])'] if given["length_heads"] else []
    if given["format"] == "pair":
        plain = "add_special_tokens=False, split_special_tokens=True"
        if length:
            length.insert(0, f'said = tokenizer(response, {plain})["input_ids"]')
        return [
            "batch = tokenizer(",
            "    [prompt], [response], split_special_tokens=True, padding=True, "
            'return_tensors="np"',
            ")",
            *length,
        ]
    around = given["around"]
    return [
        f"before, between, after = {around['before']}, {around['between']}, {around['after']}",
        "asked, said = tokenizer(",
        "    [prompt, response], add_special_tokens=False, split_special_tokens=True",
        ')["input_ids"]',
        "ids = [*before, *asked, *between, *said, *after]",
        'batch = tokenizer.pad([{"input_ids": ids}], return_tensors="np")',
        *length,
    ]


def _inputs(given: Mapping[str, Any]) -> list[str]:
    most = min(given["max_length"], given["window"] or given["max_length"])
    lines = [
        f"- Layout: {_FORMATS[given['format']]}.",
        f"- At most {most} tokens; of longer ones keep the response.",
    ]
    if given["evidence"] != "none":
        lines.append(
            "- The model was trained with evidence of the checks before the response. Whoever "
            "calls the export has to put it there; without it, scores differ from the model's."
        )
    if given["window"]:
        lines.append(
            f"- The model reads long texts in windows of {given['window']} tokens; this export "
            "reads one window, so the prompt gives way sooner."
        )
    return lines


def _measured(result: Mapping[str, Any]) -> list[str]:
    parity, sample = result["parity"], result["sample"]
    lines = []
    if result["to"] == "scalar":
        fit = result["fit"]
        lines += [
            f"One linear layer, fitted to the model's reward on {fit['texts']} texts of "
            f"`{sample['from']}` and measured on {fit['held_out_texts']} texts of other prompts:",
            "",
            "| texts | R2 | Spearman |",
            "|---|---|---|",
        ]
        lines += [
            f"| {VIEWS[name]} | {number(one['r2'])} | {number(one['spearman'])} |"
            for name, one in result["fidelity"].items()
        ]
        lines.append("")
        if result["poor"]:
            lines += [f"**Careful**: {poor_words(result)}", ""]
        if other_pooling(result):
            lines += [other_pooling(result).capitalize() + ".", ""]
        lines.append(
            "Loaded again from the disk it gives what was fitted, within "
            f"{parity['max_difference']:.1e}."
        )
        return lines
    return [
        f"Loaded again from the disk and scored on {sample['texts']} texts ({sample['from']}): "
        f"no logit differs from the model's by more than {parity['max_difference']:.1e}."
    ]


def poor_words(result: Mapping[str, Any]) -> str:
    """Where a scalar is no stand-in for the model, and what to do about it."""
    where = "; ".join(VIEWS[name] for name in result["poor"])
    others = " Send texts in the layout it was fitted on, or fit on theirs (`--layout`)."
    more = " Fit on more texts, best of the policy, or serve the model itself."
    fitted = result["fit"]["layout"] in {"all", *result["poor"]}
    return f"poor fidelity on texts that are {where}.{more if fitted else others}"


_READS = {
    "cls": "the first token",
    "last": "the last token",
    "mean": "the mean of all tokens",
    "rms": "the root mean square of all tokens",
}


def other_pooling(result: Mapping[str, Any]) -> str:
    """Why a scalar may follow badly, where its classifier reads what the model does not."""
    reads, trained = result["fit"]["reads"], result["fit"]["trained_on"]
    if reads == trained:
        return ""
    return f"the classifier reads {_READS[reads]}, the model was trained on {_READS[trained]}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
