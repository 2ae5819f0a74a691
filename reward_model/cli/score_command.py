"""What `reward-model score` does with its flags: a whole file, or one response."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from reward_model.cli.score_one import score_one
from reward_model.records import UserError, check_outputs, write_result
from reward_model.score.files.run import score_file, tell
from reward_model.score.terms import check_terms, parse_weights


def run_score(
    models: tuple[Path, ...],
    texts: Path | None,
    out: Path | None,
    *,
    prompt: str,
    response: str | None,
    how: str,
    weight: list[str],
    risk: float,
    num_workers: int,
    device: str | None,
    batch_tokens: int | None,
    json_to: str | None,
) -> None:
    """Score and tell; results of one response and the summary of a file go to `json_to`.

    Raises:
        UserError: the flags do not fit together, or what they name is wrong.
    """
    weights = parse_weights(weight)
    check_terms(how, risk)
    read = [text[1:] for text in (prompt, response or "") if text.startswith("@")]
    check_outputs({"--out": out, "--json": json_to}, (texts, *models, *read))
    if response is not None:
        if texts is not None or out is not None:
            raise UserError("both a file and --response", expected="IN with --out, or --response")
        if batch_tokens is not None or num_workers != 1:
            raise UserError(
                "--batch-tokens or --num-workers beside --response",
                expected="them with a file: one response is one batch",
            )
        result = score_one(
            models, prompt, response, how=how, weights=weights, risk=risk, device=device
        )
        write_result(result, json_to)
        return
    if texts is None:
        raise UserError("nothing to score", expected="IN with --out, or --response TEXT")
    if out is None:
        raise UserError(
            "no --out", expected="--out OUT.jsonl or OUT.parquet, where the scored rows go"
        )
    if prompt:
        raise UserError(
            "--prompt beside a file",
            expected="the prompts in its rows",
            mend="give every row a prompt, or score one text with --response",
        )
    summary = score_file(
        models,
        texts,
        out,
        how=how,
        weights=weights,
        risk=risk,
        device=device,
        batch_tokens=batch_tokens,
        num_workers=num_workers,
    )
    tell(summary, out)
    write_result(asdict(summary), json_to)
