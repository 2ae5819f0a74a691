"""Parts that a trained model and a base share: the tokenizer, and the precision of this machine.

See `reward_model.measure.doctor.run`.
"""

from __future__ import annotations

from typing import Any

import torch

from reward_model.data.tokens.inputs import plain_ids
from reward_model.measure.doctor.findings import Finding, note, ok, problem
from reward_model.train.machine import seconds

ZH = "净利润同比增长，毛利率与现金流改善"
EN = "Net income grew while gross margin and cash flow improved"
UNKNOWN = 0.2
"""Share of unknown tokens in a sentence from which its language is not read."""
SLOW = 2.0
"""Times the time of float32 from which a precision is not worth its rounding."""


def look_at_tokenizer(tokenizer: Any, embeddings: int) -> list[Finding]:
    """Vocabulary against the embeddings, padding, and the languages it knows."""
    findings = [vocabulary(tokenizer, embeddings), padding(tokenizer)]
    return [finding for finding in findings if finding is not None] + languages(tokenizer)


def vocabulary(tokenizer: Any, embeddings: int) -> Finding | None:
    """Tokens that the model has no embedding for."""
    if len(tokenizer) <= embeddings:
        return None
    return problem(
        "vocabulary",
        f"{len(tokenizer)} tokens, but {embeddings} embeddings",
        "a token beyond the last embedding stops scoring, or reads another token's",
        "the tokenizer is not the model's: copy the right one into the folder",
    )


def padding(tokenizer: Any) -> Finding:
    """What fills up a batch. Here the mask tells text from padding, whatever the token."""
    side = f"{getattr(tokenizer, 'padding_side', 'right')} side"
    if tokenizer.pad_token_id is None:
        return note(
            "padding",
            "no padding token",
            "nothing to do here, as the mask tells text from padding; other programs refuse it",
        )
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        return note(
            "padding",
            f"padding is the end-of-text token {tokenizer.pad_token!r}, {side}",
            "pooling here goes by the mask, not by the token; programs that look for the last "
            "token that is not padding will go wrong",
        )
    return ok("padding", f"token {tokenizer.pad_token!r}, {side}")


def languages(tokenizer: Any) -> list[Finding]:
    """Languages that it has no words for."""
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return []
    findings = []
    for language, text in (("Chinese", ZH), ("English", EN)):
        ids = plain_ids(tokenizer, text)
        share = sum(i == unknown for i in ids) / max(1, len(ids))
        if share > UNKNOWN:
            findings.append(
                note(
                    "vocabulary",
                    f"{share:.0%} of the tokens of a sentence in {language} are unknown to it",
                    f"{language} texts look alike to the model, whatever they say",
                    f"do not score {language} with it; train on a multilingual base",
                )
            )
    return findings


def precision_here() -> Finding:
    """Which half precisions are slower than float32 here, by a small matrix product each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return ok("precision", "this GPU computes in bfloat16")
        return note(
            "precision",
            "this GPU has no bfloat16",
            "scoring runs in float32; training with precision bf16 would be emulated",
            "train with precision fp16 or fp32",
        )
    usual, *others = seconds(torch.float32, torch.bfloat16, torch.float16)
    slow = {name: t / usual for name, t in zip(("bfloat16", "float16"), others, strict=True)}
    times = " and ".join(f"{name} about {times:.1f} times" for name, times in slow.items())
    words = f"this CPU takes for a matrix product in {times} as long as in float32"
    if max(slow.values()) < SLOW:
        return ok("precision", words)
    return note(
        "precision",
        words,
        "scoring and training use float32 here unless told otherwise",
        "leave dtype and precision as they are; half precision is for a GPU that has it",
    )
