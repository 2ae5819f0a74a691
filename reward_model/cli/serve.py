"""`reward-model serve MODEL`: flags of the server, and what is missing said before it starts."""

from __future__ import annotations

from typing import Annotated

import typer

from reward_model.cli.options import (
    AbstainOption,
    BatchTokensOption,
    CenteredOption,
    DeviceOption,
    HowOption,
    ModelArgument,
    OthersOption,
    RiskOption,
    WeightOption,
)
from reward_model.records import digest as value_digest
from reward_model.records.errors import require
from reward_model.records.program import PageLanguageOption


def serve(
    model: ModelArgument,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")
    ] = 8000,
    chat_template: Annotated[
        str | None,
        typer.Option(
            help="Chat template of the policy, whose tokens are taken out of queries: chatml, "
            "qwen, llama3, none (plain text), or a TOML file."
        ),
    ] = None,
    no_opinion: Annotated[
        float | None,
        typer.Option(
            help="Reward of a text without one (empty, a thought that was cut) at the routes of "
            "OpenRLHF and vLLM, whose clients need a number; else they are answered 422."
        ),
    ] = None,
    others: OthersOption = None,
    how: HowOption = "mean",
    device: DeviceOption = None,
    weight: WeightOption = None,
    risk: RiskOption = 0.0,
    abstain: AbstainOption = None,
    centered: CenteredOption = False,
    batch_tokens: BatchTokensOption = None,
    batch_items: Annotated[int, typer.Option(min=1, help="Most texts of a pass.")] = 256,
    max_wait: Annotated[
        float, typer.Option(help="Milliseconds a pass waits for company under load.")
    ] = 2.0,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Texts that may wait; 503 to what comes on top.")
    ] = 2048,
    max_items: Annotated[
        int | None,
        typer.Option(min=1, help="Texts of one request. [default: 256, or --max-queue if less]"),
    ] = None,
    max_body_mb: Annotated[float, typer.Option(help="Megabytes of one request.")] = 16.0,
    max_pending_mb: Annotated[
        int, typer.Option(min=1, help="Megabytes of all requests that are not answered yet.")
    ] = 512,
    timeout: Annotated[float, typer.Option(help="Seconds for a request; 504 after them.")] = 120.0,
    evidence_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds for the checks of one text, where the model reads their evidence; a text "
            "that takes longer has no opinion."
        ),
    ] = 10.0,
    drain: Annotated[
        float, typer.Option(help="Seconds to finish what was accepted when told to stop.")
    ] = 60.0,
    page_language: PageLanguageOption = "en",
) -> None:
    """Score over HTTP: /v1/score, OpenRLHF's and vLLM's routes, a page at /.

    Set REWARD_MODEL_KEY to ask clients for a key. Ctrl-C or SIGTERM: finishes, then leaves.
    """
    require("the server", "serve", "fastapi", "prometheus_client", "uvicorn")
    from reward_model.score.serve.settings import Settings
    from reward_model.score.terms import check_terms, parse_weights

    weights = parse_weights(weight or [])
    check_terms(how, risk, abstain, models=1 + len(others or []))
    settings = Settings(
        max_batch_items=batch_items,
        max_batch_tokens=batch_tokens,
        max_wait_ms=max_wait,
        max_queue=max_queue,
        max_pending_mb=max_pending_mb,
        max_body_mb=max_body_mb,
        max_items=min(256, max_queue) if max_items is None else max_items,
        timeout_s=timeout,
        evidence_s=evidence_timeout,
        drain_s=drain,
        chat_template=chat_template,
        no_opinion=no_opinion,
        page_language=page_language,
    )
    from reward_model.records.chat.templates import load_template

    load_template(chat_template)
    from reward_model.model.folder import model_digest, read_rubric
    from reward_model.model.scale import read_scale
    from reward_model.score.files.workers import Models

    models = Models(
        (model, *(others or [])), how, weights, risk, device, batch_tokens, abstain, centered
    )
    for path in models.paths:
        read_rubric(path)
    if centered:
        read_scale(models.paths, how)  # what is missing is said before anything is loaded
    digests = [model_digest(path) for path in models.paths]
    from reward_model.score.serve.server import serve as run_server

    one = digests[0] if len(digests) == 1 else value_digest([*digests, how])
    run_server(models, settings, host=host, port=port, digest=one)
