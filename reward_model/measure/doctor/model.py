"""What usually goes wrong with a trained model's folder; see `reward_model.measure.doctor.run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from reward_model.checks import VERSION
from reward_model.measure.doctor.findings import Finding, note, ok, problem
from reward_model.measure.doctor.folder import (
    chat_template,
    code,
    label_map,
    rubric_of,
    split,
    weights,
)
from reward_model.measure.doctor.parts import look_at_tokenizer, precision_here
from reward_model.measure.texts import probabilities_of
from reward_model.model.batches import collate, pad_id
from reward_model.model.device import best_device
from reward_model.model.folder import Bundle, load_bundle
from reward_model.model.network import MultiDimRewardConfig
from reward_model.model.quiet import model_type
from reward_model.records import UserError, read_object
from reward_model.score.scorer import RewardScorer
from reward_model.train.base import positions_of

TOLERANCE = 1e-5
LONG = "Analyse the statement of the first half year and say where the change came from. " * 5
PROBES = (
    ("Analyse the statement.", "Net margin rose to 12.5% as the product mix improved."),
    ("分析报表。", "净利率升至12.5%，主要由产品结构改善驱动，但应收账款周转放缓。" * 4),
    ("", "ok"),
    (LONG, "Net margin rose to 12.5% as the product mix improved."),
    (LONG, "Net margin fell. The cause is not said."),
)
"""Texts of many lengths; two of them begin alike, which scoring reads once."""


def look_at_folder(folder: Path) -> list[Finding]:
    """Every check of a folder: of a trained reward model, or of a base to train one from.

    Raises:
        UserError: it holds no model at all.
    """
    if model_type(folder) not in (None, MultiDimRewardConfig.model_type):
        from reward_model.measure.doctor.base import look_at_base

        return look_at_base(folder)
    return look_at_model(folder)


def look_at_model(folder: Path) -> list[Finding]:
    """Every check of the folder of a trained reward model.

    Raises:
        UserError: it is none.
    """
    rubric, trouble = rubric_of(folder)
    if rubric is None:
        return [trouble] if trouble else []
    config = read_object(folder / "config.json", strict=True)
    if not config:
        return [
            problem(
                "configuration",
                "a config.json with NaN or Infinity, which are no JSON",
                "scores follow from settings that are no numbers",
                "put back the config.json that training wrote",
            )
        ]
    stored, readable = weights(folder)
    findings = [code(folder), *stored, *split(folder), label_map(config, rubric)]
    template = chat_template(folder, config)
    if template is not None:
        findings.append(template)
    if not readable or any(f.check in ("label map", "chat template") for f in _bad(findings)):
        return findings  # it cannot be loaded, and why is said
    try:
        bundle = load_bundle(folder, dtype=torch.float32)
    except UserError as error:
        return [
            *findings,
            problem(
                "load",
                error.found,
                "nothing can be scored with it",
                "copy the folder again, whole, or train again",
            ),
        ]
    size = sum(parameter.numel() for parameter in bundle.model.parameters()) / 1e6
    findings.append(ok("load", f"{size:.1f} million weights, {len(rubric.names)} heads"))
    embeddings: Any = bundle.model.get_input_embeddings()
    scorer = RewardScorer(bundle)
    length = _positions(bundle)
    runs = length.level != "problem"
    behaves = behaviour(scorer) if runs else []
    findings += [
        _rubric(bundle),
        length,
        *look_at_tokenizer(bundle.tokenizer, embeddings.weight.shape[0]),
        *_reading(bundle),
        *behaves,
        _temperatures(bundle),
        precision_here(),
    ]
    if best_device().type == "cpu" or not runs or any(f.check == "numbers" for f in behaves):
        return findings
    return [*findings, precision(scorer, RewardScorer.from_pretrained(folder))]


def _bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "problem"]


def _rubric(bundle: Bundle) -> Finding:
    named, kept = bundle.model.config.rubric, bundle.rubric.id
    if named != kept:
        return problem(
            "rubric",
            f"the model was trained on {named}, the folder keeps {kept}",
            "weights and the meaning of the levels come from the rubric that is kept",
            "put back the rubric.json it was trained with",
        )
    return ok("rubric", kept)


def _positions(bundle: Bundle) -> Finding:
    config = bundle.model.config
    window = config.window
    length = min(bundle.builder.max_length, window or bundle.builder.max_length)
    words = f"windows of {window} tokens" if window else f"{length} tokens"
    positions = positions_of(config.backbone_config, bundle.tokenizer)
    if positions is None:
        return ok("length", f"{words}, no limit of positions")
    if length > positions:
        return problem(
            "length",
            f"inputs of up to {length} tokens, but only {positions} positions",
            "longer texts stop scoring, or are read with positions nobody trained",
            f"train again with --max-length {positions} or a base model that reads more",
        )
    return ok("length", f"{words} of {positions} positions")


def _reading(bundle: Bundle) -> list[Finding]:
    """What the model needs of a prompt."""
    if bundle.builder.evidence == "none":
        return []
    trained = bundle.model.config.evidence_version
    other = []
    if trained != VERSION:
        by = "an earlier checker" if trained is None else f"version {trained} of the checks"
        other = [
            note(
                "checker",
                f"trained on the findings of {by}, here they are of version {VERSION}",
                "the same text brings other findings than in training; scores are given as ever",
                "train again to have the model read the findings of this checker",
            )
        ]
    return [
        *other,
        note(
            "evidence",
            "the model reads what the checks verified in the response",
            "the checks read the tables of the prompt: without them there is nothing to verify",
            "score with the whole prompt, tables included; --max-prompt-length does not cut what "
            "the checks read",
        ),
    ]


def _temperatures(bundle: Bundle) -> Finding:
    known = bundle.model.config.temperatures
    if not known:
        return note(
            "calibration",
            "no temperatures",
            "probabilities are as confident as training left them",
            "reward-model calibrate MODEL SCORED fits one a head",
        )
    strange = [name for name in known if name not in bundle.rubric.names]
    if strange:
        return problem(
            "calibration",
            f"temperatures of {', '.join(strange)}, which are no heads",
            "they were fitted for another model",
            "reward-model calibrate MODEL SCORED fits them again",
        )
    words = ", ".join(f"{name} {value:.2f}" for name, value in known.items())
    return ok("calibration", f"temperatures {words}")


def behaviour(scorer: RewardScorer) -> list[Finding]:
    """Scores that depend on company or padding, that are no numbers, or that never change."""
    encoded = [scorer.encode(prompt, response) for prompt, response in PROBES]
    alone = np.concatenate([scorer.probabilities([one]) for one in encoded])
    if not np.isfinite(alone).all():
        return [
            problem(
                "numbers",
                "scores that are not numbers",
                "every text gets no opinion, never a reward",
                "the training run ended in NaN: train again with a lower learning rate",
            )
        ]
    findings = []
    together = scorer.probabilities(encoded)
    padded = _left_padded(scorer, encoded)
    mask = "the backbone does not mask padding, so a score depends on its company"
    share = "texts read side by side see one another, so a score depends on its company"
    one = "score with --batch-tokens 1 until it is fixed"
    eager = 'load it with attn_implementation="eager", which reads padded batches'
    for check, other, words, why, mend in (
        ("batch", together, "alone and in one batch", mask, one),
        ("padding side", padded, "padded on the right and on the left", mask, one),
        ("company", _scored(scorer), "alone and as score_batch reads them", share, eager),
    ):
        difference = float(np.abs(other - alone).max())
        if not difference <= TOLERANCE:
            found = f"scores differ by {difference:.1e} {words}"
            findings.append(problem(check, found, why, mend))
        else:
            findings.append(ok(check, f"same scores {words} (within {difference:.0e})"))
    spread = np.ptp(alone, axis=0).max(axis=1)
    for name, width in zip(scorer.dimensions, spread, strict=True):
        if width < 1e-4:
            findings.append(
                problem(
                    "heads",
                    f"{name} says the same for every text",
                    "its labels were constant or the head is untrained",
                    "look at `reward-model labels`",
                )
            )
    if (spread >= 1e-4).all():
        findings.append(ok("heads", f"all {len(spread)} react to the text"))
    return findings


@torch.inference_mode()
def _left_padded(scorer: RewardScorer, encoded: Any) -> Any:
    answers = bool(scorer.model.config.length_heads)
    batch = collate(encoded, pad_id(scorer.tokenizer), answers=answers)
    mask = batch["attention_mask"]
    order = torch.argsort(mask, dim=1, stable=True)  # padding first
    moved = {k: v if v.dim() == 1 else v.gather(1, order) for k, v in batch.items()}
    logits = scorer.model(**{name: v.to(scorer.device) for name, v in moved.items()}).logits
    assert logits is not None
    return torch.softmax(logits.cpu().double(), dim=-1).numpy()


def _scored(scorer: RewardScorer) -> Any:
    """[n, D, K] of all probes at once, by the way that scoring takes; NaN without an opinion."""
    prompts, responses = zip(*PROBES, strict=True)
    return probabilities_of(scorer.score_batch(prompts, responses), scorer.rubric)


def precision(plain: RewardScorer, fast: RewardScorer) -> Finding:
    """The precision that scoring chooses on an accelerator, against float32."""
    prompts, responses = zip(*PROBES, strict=True)
    one, two = (
        np.array([score.reward for score in scorer.score_batch(prompts, responses)], dtype=float)
        for scorer in (plain, fast)
    )
    difference = float(np.abs(one - two).max())  # no opinion is NaN, and so is its difference
    words = f"{next(fast.model.backbone.parameters()).dtype} on {fast.device.type}"
    if np.isnan(difference):
        return problem(
            "precision",
            f"{words} gives scores that are not numbers",
            "those texts get no opinion, where float32 has one",
            "load it with dtype=torch.float32",
        )
    if not difference < 0.02:
        return problem(
            "precision",
            f"{words} moves rewards by {difference:.3f}",
            "rewards of this size of error reorder responses",
            "load it with dtype=torch.float32",
        )
    return ok("precision", f"{words}, within {difference:.0e} of float32 rewards")
