"""`reward-model export MODEL --to KIND --out DIR`: the model in a form that others load.

Every export is loaded again from the disk and scored on a sample before its folder appears; one
that does not give the same numbers never does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from reward_model.records import (
    UserError,
    read_object,
    write_json,
    write_text,
)
from reward_model.rubrics import Rubric
from reward_model.score.export.card import card

if TYPE_CHECKING:
    from reward_model.model.folder import Bundle
    from reward_model.score.export.sample import Sampled

Kind = Literal["sequence-classification", "scalar", "onnx"]
RESULT = "export.json"
TOLERANCE = 1e-4
"""Largest difference of a logit between model and export: float32 adds up in another order."""
POOR_R2, POOR_SPEARMAN = 0.8, 0.9
"""Below either, a scalar follows the model too loosely to stand for it."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export and what to measure it on."""

    to: Kind
    data: Path | None = None
    sample: int | None = None
    """Texts of `data`; none: 64, for a scalar 2,000."""
    seed: int = 0
    device: str | None = None
    layout: Literal["trained", "text", "bare", "all"] = "trained"
    """Of the texts a scalar is fitted on."""

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UserError: naming the option.
        """
        if self.to not in get_args(Kind):
            raise UserError(f"--to {self.to!r}", expected=f"one of {', '.join(get_args(Kind))}")
        if self.layout not in ("trained", "text", "bare", "all"):
            raise UserError(f"--layout {self.layout!r}", expected="trained, text, bare or all")
        if self.layout != "trained" and self.to != "scalar":
            raise UserError(f"--layout with --to {self.to}", expected="--to scalar")
        if self.sample is not None and self.data is None:
            raise UserError("--sample without --data", expected="it with the texts it is drawn of")
        if self.seed and self.data is None:
            raise UserError("--seed without --data", expected="it with the texts that are drawn")
        if self.device is not None and self.to != "scalar":
            raise UserError(
                f"--device with --to {self.to}",
                expected="--to scalar, whose texts are scored there",
            )
        if self.to == "scalar" and self.data is None:
            raise UserError(
                "--to scalar without --data",
                expected="texts to fit the layer on: pairs, responses or completions (JSON Lines)",
                mend="add --data SCORED.jsonl, best what the policy itself writes",
            )


class _NotEqualError(Exception):
    """The export computes something else than the model."""


def run_export(model: Path, out: Path | None, options: ExportOptions) -> dict[str, Any]:
    """Export and measure.

    Returns:
        What `export.json` holds; where ``["parity"]["equal"]`` is false, nothing was kept.

    Raises:
        UserError: nothing exact can be made, or the input is wrong; nothing is written.
    """
    options.check()
    if out is None:
        raise UserError("no --out", expected="--out DIR, where the export goes")
    _check_out(out, model)
    for read in (model, options.data):
        if read is not None and out.exists() and read.exists() and _inside(read, out):
            raise UserError("an input inside of --out", expected="another --out", path=read)
    texts = _texts(options)
    bundle, described = open_model(model)
    from reward_model.records.folders import staged

    result: dict[str, Any] = {
        "command": "reward-model export",
        "to": options.to,
        "model": described,
        "rubric": bundle.rubric.id,
        "dimensions": list(bundle.rubric.names),
        "levels": bundle.rubric.classes,
        "weights": dict(bundle.rubric.weights),
        "temperatures": bundle.model.config.temperatures,
        "input": _input(bundle),
        "sample": {
            "from": options.data.name if options.data else "built-in texts",
            "texts": len(texts),
            "seed": options.seed,
        },
    }
    make = {"sequence-classification": _classifier, "scalar": _scalar, "onnx": _onnx}[options.to]
    with suppress(_NotEqualError), staged(out) as folder:
        make(bundle, texts, options, folder, result)
        if not result["parity"]["equal"]:
            raise _NotEqualError
        write_json(
            folder / "rubric.json", bundle.rubric.model_dump(mode="json", exclude_unset=True)
        )
        write_json(folder / RESULT, result)
        write_text(folder / "README.md", card(result))
    return result


def open_model(path: Path) -> tuple[Bundle, dict[str, Any]]:
    """A trained model in float32, adapters merged into it, and what is noted of where it is from.

    Raises:
        UserError: no trained model in the folder.
    """
    import torch

    from reward_model.model.folder import Bundle, builder_of, load_bundle, model_digest

    described: dict[str, Any] = {"name": path.resolve().name, "merged": False}
    if not (path / "adapter_config.json").exists():
        bundle = load_bundle(path, dtype=torch.float32)
        return _dated(bundle), {**described, "digest": model_digest(path)}
    from transformers import AutoTokenizer

    from reward_model.model.adapter import load_adapter, merge
    from reward_model.model.quiet import quiet

    model = merge(load_adapter(path))
    config: Any = model.config
    torch.nn.Module.float(model)
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    rubric = _rubric_of_adapter(path, config.rubric)
    builder = builder_of(tokenizer, config)
    merged = {**described, "merged": True, "digest": model_digest(path)}
    return _dated(Bundle(model, tokenizer, rubric, builder)), merged


def _dated(bundle: Bundle) -> Bundle:
    """The same with the date that its chat template prints written out, for who knows no other."""
    from reward_model.data.tokens.wrapping import dated

    today, template = bundle.builder.template_date, bundle.tokenizer.chat_template
    if today is not None and isinstance(template, str):
        bundle.tokenizer.chat_template = dated(template, today)
    return bundle


def _rubric_of_adapter(path: Path, named: str) -> Rubric:
    """An adapter has no rubric of its own: the model beside it has, or one that ships."""
    from reward_model.model.folder import read_rubric
    from reward_model.rubrics import load_rubric, shipped_rubrics

    best = path.resolve().parent / "best"
    name = named.split("@")[0]
    if best.is_dir():
        rubric = read_rubric(best)
    elif name in shipped_rubrics():
        rubric = load_rubric(name)
    else:
        raise UserError(
            f"an adapter without its rubric {named}",
            expected="the folder `best` beside it",
            mend="export `best`, where the adapter is merged already",
            path=path,
        )
    if rubric.id != named:
        raise UserError(
            f"an adapter that was trained on {named}, beside {rubric.id}",
            expected="the rubric it was trained on",
            mend="export `best` of its run, where the adapter is merged already",
            path=path,
        )
    return rubric


def _check_out(out: Path, model: Path) -> None:
    if out.is_symlink():  # what replaces it is a folder, made beside it
        raise UserError("a link as --out", expected="a folder", path=out)
    if out.is_file():
        raise UserError("a file as --out", expected="a folder", path=out)
    if not out.is_dir() or not any(out.iterdir()):
        return
    if (read_object(out / RESULT) or {}).get("command") != "reward-model export":
        raise UserError(
            "a folder with other things in it" if not out.samefile(model) else "the model itself",
            expected="a new folder, or one of an earlier export, which is replaced",
            mend="name another --out",
            path=out,
        )


def _inside(place: Path, folder: Path) -> bool:
    return folder.resolve() in (place.resolve(), *place.resolve().parents)


def _texts(options: ExportOptions) -> list[Sampled]:
    from reward_model.score.export.sample import BUILT_IN, sample_texts

    if options.data is None:
        return list(BUILT_IN)
    count = options.sample or (2000 if options.to == "scalar" else 64)
    texts = sample_texts(options.data, count, options.seed)
    if not texts:
        raise UserError("only empty responses", expected="texts to score", path=options.data)
    return texts


def _input(bundle: Bundle) -> dict[str, Any]:
    from reward_model.data.tokens.wrapping import Wrapping

    config = bundle.model.config
    around = Wrapping(bundle.tokenizer, bundle.builder.input_format).around("a")
    assert around is not None
    return {
        "format": bundle.builder.input_format,
        "around": {name: getattr(around, name) for name in ("before", "between", "after")},
        "max_length": config.max_input_length,
        "max_prompt_length": config.max_prompt_length,
        "evidence": config.evidence,
        "window": config.window,
        "length_heads": config.length_heads,
    }


def _classifier(
    bundle: Bundle,
    texts: list[Sampled],
    options: ExportOptions,
    folder: Path,
    result: dict[str, Any],
) -> None:
    from reward_model.model.batches import pad_id
    from reward_model.score.export.classifier import classifier_of
    from reward_model.score.export.padding import safe_padding
    from reward_model.score.export.sample import outputs

    made = classifier_of(bundle)
    encoded = bundle.builder.build([t.prompt for t in texts], [t.response for t in texts])
    ours = outputs(lambda batch: bundle.model(**batch).logits, encoded, pad_id(bundle.tokenizer))
    result["padding"] = safe_padding(bundle.tokenizer, made, [one.input_ids[-1] for one in encoded])
    again, tokenizer = _saved(made, bundle.tokenizer, folder)
    found = outputs(lambda batch: again(**batch).logits, encoded, tokenizer.pad_token_id)
    result["class"] = type(again).__name__
    result["parity"] = _parity(found, ours.flatten(1))


def _scalar(
    bundle: Bundle,
    texts: list[Sampled],
    options: ExportOptions,
    folder: Path,
    result: dict[str, Any],
) -> None:
    import numpy as np
    import torch

    from reward_model.model.device import best_device
    from reward_model.score.export.sample import outputs
    from reward_model.score.export.scalar import fidelity, fit_scalar
    from reward_model.score.scorer import RewardScorer

    scorer = RewardScorer(bundle, device=options.device or best_device())
    fit = fit_scalar(scorer, texts, options.seed, options.layout)
    result["padding"] = fit.tokenizer_pad
    again, tokenizer = _saved(fit.made, bundle.tokenizer, folder)
    torch.nn.Module.to(again, scorer.device)
    result["class"] = type(again).__name__
    result["fit"] = {
        "texts": fit.fitted_on,
        "penalty": fit.penalty,
        "layout": options.layout,
        "reads": fit.reads,
        "trained_on": bundle.model.config.pooling,
        "held_out_texts": len(fit.rewards),
    }
    result["fidelity"] = {}
    apart = 0.0
    for name, encoded in fit.views.items():
        found = outputs(
            lambda batch: again(**{k: v.to(scorer.device) for k, v in batch.items()}).logits,
            encoded,
            tokenizer.pad_token_id,
        )
        rewards = found[:, 0].double().numpy()
        apart = float(np.maximum(apart, abs(rewards - fit.expected[name]).max()))
        result["fidelity"][name] = fidelity(rewards, fit.rewards)
    result["poor"] = sorted(n for n, one in result["fidelity"].items() if _is_poor(one))
    result["parity"] = _agreement(apart)


def _saved(made: Any, tokenizer: Any, folder: Path) -> tuple[Any, Any]:
    """A classifier and its tokenizer, as they are loaded again from the disk."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from reward_model.model.quiet import quiet

    with quiet():
        made.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        again = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        return again, AutoTokenizer.from_pretrained(folder)


def _onnx(
    bundle: Bundle,
    texts: list[Sampled],
    options: ExportOptions,
    folder: Path,
    result: dict[str, Any],
) -> None:
    from reward_model.model.batches import collate, pad_id
    from reward_model.model.quiet import quiet
    from reward_model.score.export.onnx import MODEL, onnx_runner, write_onnx
    from reward_model.score.export.sample import outputs

    pad = pad_id(bundle.tokenizer)
    encoded = bundle.builder.build([t.prompt for t in texts], [t.response for t in texts])
    example = collate([encoded[0], *encoded[:1], *encoded[-1:]], pad, answers=True)
    write_onnx(bundle.model, example, folder / MODEL)
    if bundle.tokenizer.pad_token is None:  # any will do: the graph goes by the mask
        bundle.tokenizer.pad_token = bundle.tokenizer.convert_ids_to_tokens(pad)
    with quiet():
        bundle.tokenizer.save_pretrained(folder)
        bundle.model.config.save_pretrained(folder)
    ours = outputs(lambda batch: bundle.model(**batch).logits, encoded, pad, answers=True)
    result["class"] = MODEL
    found = outputs(onnx_runner(folder / MODEL), encoded, pad, answers=True)
    result["parity"] = _parity(found, ours)


def _parity(found: Any, ours: Any) -> dict[str, Any]:
    return _agreement(float((found - ours).abs().max()))


def _agreement(apart: float) -> dict[str, Any]:
    known = math.isfinite(apart)
    return {
        "max_difference": apart if known else None,
        "tolerance": TOLERANCE,
        # An output that is no number equals none.
        "equal": known and apart < TOLERANCE,
    }


def _is_poor(one: Mapping[str, float | None]) -> bool:
    r2, rank = one["r2"], one["spearman"]
    return r2 is None or rank is None or r2 < POOR_R2 or rank < POOR_SPEARMAN
