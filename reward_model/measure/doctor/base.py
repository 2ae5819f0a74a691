"""What usually goes wrong with a base model before anything is trained from it; see `doctor`.

Configuration, tokenizer and the names of its weights: their numbers are not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from reward_model.measure.doctor.findings import Finding, note, ok, problem
from reward_model.measure.doctor.folder import code, has_chat_template, weights
from reward_model.measure.doctor.parts import look_at_tokenizer, precision_here
from reward_model.model.backbone import load_backbone
from reward_model.model.quiet import UNREADABLE, quiet
from reward_model.records import UserError
from reward_model.records.errors import first_line
from reward_model.train.base import positions_of, suited_pooling
from reward_model.train.config import TrainConfig


def look_at_base(folder: Path) -> list[Finding]:
    """Every check of the folder of a plain encoder or decoder."""
    stored, whole = weights(folder)
    findings = [code(folder), *stored]
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (*UNREADABLE, ImportError) as error:
        return [
            *findings,
            problem(
                "load",
                f"configuration or tokenizer cannot be read ({first_line(error)})",
                "training cannot start from it",
                "copy the folder again, whole, or choose a model that transformers knows",
            ),
        ]
    if config.is_encoder_decoder:
        return [
            *findings,
            problem(
                "kind",
                f"an encoder-decoder ({config.model_type})",
                "there is no one place to read a score from",
                "choose an encoder or a decoder",
            ),
        ]
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if not isinstance(rows, int):
        return [
            *findings,
            problem(
                "kind",
                f"{config.model_type}, with a vocabulary of {rows} tokens in config.json",
                "it cannot read texts",
                "choose an encoder or a decoder of texts, or copy its config.json again",
            ),
        ]
    decoder = suited_pooling(config) == "last"
    kind = "a decoder, pooled at the last token" if decoder else "an encoder, pooled by mean"
    findings.append(ok("kind", f"{config.model_type}: {kind}; no heads yet"))
    if whole and (lost := _lost(folder)):
        findings.append(lost)
    findings.append(_positions(config, tokenizer))
    findings += look_at_tokenizer(tokenizer, rows)
    if decoder and not has_chat_template(folder):
        findings.append(
            note(
                "chat template",
                "none",
                "prompt and response are joined with a blank line instead",
                "an instruction-tuned version of the model brings one",
            )
        )
    return [*findings, precision_here()]


def _lost(folder: Path) -> Finding | None:
    """Weights that the files do not have, or have in another shape than config.json asks for."""
    why = "training starts from no weights that nobody trained, so it refuses them"
    try:
        with quiet():
            load_backbone(str(folder), device_map="meta")  # names and shapes, no memory
    except UserError as error:
        return problem("weights", error.found, why, error.mend or "copy the model again, whole")
    except (*UNREADABLE, ImportError) as error:
        mend = "copy the folder again, whole, config.json and weights of the same model"
        return problem("weights", f"they do not fit config.json ({first_line(error)})", why, mend)
    return None


def _positions(config: Any, tokenizer: Any) -> Finding:
    usual = TrainConfig.model_fields["max_length"].default
    positions = positions_of(config, tokenizer)
    if positions is None:
        return ok("length", "no limit of positions")
    if positions < usual:
        return note(
            "length",
            f"{positions} positions, fewer than the {usual} tokens that training reads by default",
            "training refuses to start on longer inputs than the model can read",
            f"pass --max-length {positions}; or --window {positions} to read longer texts in "
            "parts; or a base model that reads longer texts",
        )
    return ok("length", f"{positions} positions")
