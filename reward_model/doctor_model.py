"""What usually goes wrong with a model folder; see `reward_model.doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from reward_model.bundle import RUBRIC, Bundle, load_bundle, read_rubric
from reward_model.doctor import Finding
from reward_model.inputs import collate, pad_id, plain_ids
from reward_model.records import UserError, parse_json
from reward_model.scorer import RewardScorer, best_device

TOLERANCE = 1e-5
PROBES = (
    ("Analyse the statement.", "Net margin rose to 12.5% as the product mix improved."),
    ("分析报表。", "净利率升至12.5%，主要由产品结构改善驱动，但应收账款周转放缓。" * 4),
    ("", "ok"),
)
ZH = "净利润同比增长，毛利率与现金流改善"
EN = "Net income grew while gross margin and cash flow improved"


def look_at_model(folder: Path) -> list[Finding]:
    """Every check of a model folder.

    Raises:
        UserError: it is no folder of a trained reward model at all.
    """
    try:
        read_rubric(folder)
    except UserError as error:
        if error.path is None or error.path.name != RUBRIC:
            raise
        return [_problem("rubric", str(error), "copy rubric.json from the training output")]
    findings = [_no_code(folder)]
    try:
        bundle = load_bundle(folder, dtype=torch.float32)
    except UserError as error:
        mend = "copy the folder again, whole, or train again"
        return [*findings, _problem("load", error.found, mend)]
    findings.append(_ok("load", f"{_size(bundle)} weights, {len(bundle.rubric.names)} heads"))
    findings += [_rubric(bundle), *_positions(bundle), *_tokenizer(bundle)]
    scorer = RewardScorer(bundle)
    return [*findings, *_behaviour(scorer), _precision(folder)]


def _no_code(folder: Path) -> Finding:
    config = parse_json((folder / "config.json").read_bytes())
    pickled = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pkl")]
    names = sorted(path.name for path in [*pickled, *folder.glob("*.py")])
    if "auto_map" in config:
        names.append("auto_map in config.json")
    if names:
        return _problem(
            "code",
            f"{', '.join(names)}: files that can carry code",
            "they are never loaded here; remove them, so that nobody else loads them",
        )
    return _ok("code", "safetensors only, nothing that runs when loaded")


def _rubric(bundle: Bundle) -> Finding:
    named, kept = bundle.model.config.rubric, bundle.rubric.id
    if named != kept:
        return _problem(
            "rubric",
            f"the model was trained on {named}, the folder keeps {kept}",
            "put back the rubric.json it was trained with: levels mean what that one says",
        )
    return _ok("rubric", kept)


def _positions(bundle: Bundle) -> list[Finding]:
    config = bundle.model.config
    backbone = config.backbone_config.get_text_config()
    positions = getattr(backbone, "max_position_embeddings", None)
    length = bundle.builder.max_length
    if not isinstance(positions, int):
        return [_ok("length", f"{length} tokens, no limit of positions")]
    # RoBERTa counts positions from its padding index on, so two of them are never used.
    if backbone.model_type in {"roberta", "xlm-roberta", "camembert"}:
        positions -= 2
    if length > positions:
        return [
            _problem(
                "length",
                f"inputs of up to {length} tokens, but only {positions} positions",
                f"train again with --max-length {positions} or a base model that reads more",
            )
        ]
    return [_ok("length", f"{length} tokens of {positions} positions")]


def _tokenizer(bundle: Bundle) -> list[Finding]:
    tokenizer = bundle.tokenizer
    findings = []
    embeddings: Any = bundle.model.get_input_embeddings()
    rows = embeddings.weight.shape[0]
    if len(tokenizer) > rows:
        findings.append(
            _problem(
                "vocabulary",
                f"{len(tokenizer)} tokens, but {rows} embeddings",
                "the tokenizer is not the model's: copy the right one into the folder",
            )
        )
    if bundle.builder.input_format == "chat" and not getattr(tokenizer, "chat_template", None):
        findings.append(
            _problem(
                "chat template",
                "none, but the model was trained with one",
                "copy chat_template.jinja (or tokenizer_config.json) from the base model",
            )
        )
    if tokenizer.pad_token_id is None:
        findings.append(
            _note("padding", "no padding token; the mask tells text from padding", "nothing to do")
        )
    elif tokenizer.pad_token_id == tokenizer.eos_token_id:
        findings.append(
            _note(
                "padding",
                "padding is the end-of-text token; pooling here goes by the mask, not by the token",
                "other programs that look for the last token that is not padding will go wrong",
            )
        )
    else:
        findings.append(_ok("padding", f"token {tokenizer.pad_token!r}"))
    unknown = tokenizer.unk_token_id
    for language, text in (("Chinese", ZH), ("English", EN)):
        ids = plain_ids(tokenizer, text)
        share = sum(i == unknown for i in ids) / max(1, len(ids)) if unknown is not None else 0.0
        if share > 0.2:
            findings.append(
                _note(
                    "vocabulary",
                    f"{share:.0%} of the tokens of a {language} sentence are unknown to it",
                    f"do not score {language} with this model; train on a multilingual base",
                )
            )
    return findings


def _behaviour(scorer: RewardScorer) -> list[Finding]:
    """Scores that depend on company or padding, that are no numbers, or that never change."""
    encoded = [scorer.encode(prompt, response) for prompt, response in PROBES]
    alone = np.concatenate([scorer.probabilities([one]) for one in encoded])
    if not np.isfinite(alone).all():
        mend = "the training run ended in NaN: train again with a lower learning rate"
        return [_problem("numbers", "scores that are not numbers", mend)]
    findings = []
    together = scorer.probabilities(encoded)
    padded = _left_padded(scorer, encoded)
    for check, other, words in (
        ("batch", together, "alone and in one batch"),
        ("padding side", padded, "padded on the right and on the left"),
    ):
        difference = float(np.abs(other - alone).max())
        if difference > TOLERANCE:
            findings.append(
                _problem(
                    check,
                    f"scores differ by {difference:.1e} {words}",
                    "the backbone does not mask padding; score with --batch-tokens 1 until fixed",
                )
            )
        else:
            findings.append(_ok(check, f"same scores {words} (within {difference:.0e})"))
    spread = np.ptp(alone, axis=0).max(axis=1)
    for name, width in zip(scorer.dimensions, spread, strict=True):
        if width < 1e-4:
            findings.append(
                _problem(
                    "heads",
                    f"{name} says the same for every text",
                    "its labels were constant or the head is untrained: look at "
                    "`reward-model labels`",
                )
            )
    if (spread >= 1e-4).all():
        findings.append(_ok("heads", f"all {len(spread)} react to the text"))
    return findings


@torch.inference_mode()
def _left_padded(scorer: RewardScorer, encoded: Any) -> Any:
    batch = collate(encoded, pad_id(scorer.tokenizer))
    mask = batch["attention_mask"]
    order = torch.argsort(mask, dim=1, stable=True)  # padding first
    moved = {name: values.gather(1, order) for name, values in batch.items()}
    logits = scorer.model(**{name: v.to(scorer.device) for name, v in moved.items()}).logits
    assert logits is not None
    return torch.softmax(logits.cpu().double(), dim=-1).numpy()


def _precision(folder: Path) -> Finding:
    """The precision that scoring will choose here, against float32."""
    device = best_device()
    if device.type == "cpu":
        return _ok("precision", "float32 on this machine's CPU")
    plain = RewardScorer.from_pretrained(folder, device="cpu")
    fast = RewardScorer.from_pretrained(folder, device=device)
    prompts, responses = zip(*PROBES, strict=True)
    rewards = [
        np.array([score.reward for score in scorer.score_batch(prompts, responses)])
        for scorer in (plain, fast)
    ]
    difference = float(np.abs(rewards[0] - rewards[1]).max())
    words = f"{next(fast.model.backbone.parameters()).dtype} on {device.type}"
    if not difference < 0.02:
        return _problem(
            "precision",
            f"{words} moves rewards by {difference:.3f}",
            "load it with dtype=torch.float32",
        )
    return _ok("precision", f"{words}, within {difference:.0e} of float32 rewards")


def _size(bundle: Bundle) -> str:
    count = sum(parameter.numel() for parameter in bundle.model.parameters())
    return f"{count / 1e6:.1f} million"


def _problem(check: str, found: str, mend: str) -> Finding:
    return Finding("problem", check, found, mend)


def _note(check: str, found: str, mend: str) -> Finding:
    return Finding("note", check, found, mend)


def _ok(check: str, found: str) -> Finding:
    return Finding("ok", check, found)
