"""What usually goes wrong with a tokenizer, of a trained model or of a base; see `doctor`."""

from __future__ import annotations

from typing import Any

from reward_model.data.tokens.inputs import plain_ids
from reward_model.measure.doctor.findings import Finding, note, ok, problem

ZH = "净利润同比增长，毛利率与现金流改善"
EN = "Net income grew while gross margin and cash flow improved"
UNKNOWN = 0.2
"""Share of unknown tokens in a sentence from which its language is not read."""


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
