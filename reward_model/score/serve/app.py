"""The routes: scores for people and trainers, health for whoever runs it, a page to try it.

`create_app(service)` is the ASGI application; `server` beside it runs it
under uvicorn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response
from starlette.routing import Route

from reward_model.score import sentences
from reward_model.score.serve import vllm
from reward_model.score.serve.answers import openrlhf
from reward_model.score.serve.batching import Item
from reward_model.score.serve.bodies import (
    REWARD,
    SCORE,
    ScoreOne,
    made,
    parse,
    reward_items,
    score_items,
)
from reward_model.score.serve.errors import ApiError, error_words, json_response
from reward_model.score.serve.evidence import MOST_SHOWN_BYTES
from reward_model.score.serve.page import demo_page
from reward_model.score.serve.schema import describe
from reward_model.score.serve.scorers import members
from reward_model.score.serve.service import Service

if TYPE_CHECKING:
    from reward_model.score.serve.scorers import Scorer


def create_app(service: Service) -> FastAPI:
    """All routes of a service; `service.start()` has to be called in the loop that runs them."""
    app = FastAPI(
        title="reward-model serve",
        version=service.digest,
        redoc_url=None,
        redirect_slashes=False,  # it would be built from whatever Host a client sends
        description="Levels by dimension and one reward for a response to a prompt.",
    )

    async def score(request: Request, body: bytes) -> Response:
        asked = parse(SCORE, body)
        items = score_items(asked)
        plan = None
        if isinstance(asked, ScoreOne) and asked.sentences:
            most = min(sentences.MOST, service.settings.max_items - 2)
            plan = await asyncio.to_thread(_plan, items[0], most)
            items = [made(*pair) for pair in plan.pairs]
        found = await service.scores(request, items, weights=asked.weights, risk=asked.risk)
        scores = [one.to_json() for one in (found if plan is None else found[:1])]
        if plan is not None:
            scores[0]["sentences"] = sentences.explained(plan, found).to_json()
        if isinstance(asked, ScoreOne) and asked.explain:
            scores[0]["evidence"] = await service.checks.show(service.batcher.loaded, items[0])
        model = {"name": service.name, "digest": service.digest}
        return json_response({"model": model, "scores": scores})

    async def get_reward(request: Request, body: bytes) -> Response:
        items = reward_items(parse(REWARD, body), service.template)
        return json_response(
            openrlhf(
                await service.scores(request, items),
                service.rubric.names,
                service.settings.no_opinion,
            )
        )

    async def numbers(
        request: Request, items: list[Item], kind: str, shape: Callable[..., list[dict[str, Any]]]
    ) -> Response:
        """The rewards of texts in one of vLLM's shapes."""
        read, scores = await service.scored(request, items)
        data = shape(scores, service.settings.no_opinion)
        tokens = await asyncio.to_thread(_tokens, service.batcher.loaded, read)
        return json_response(vllm.envelope(kind, service.name, data, tokens))

    async def classify(request: Request, body: bytes) -> Response:
        asked = parse(vllm.CLASSIFY, body)
        return await numbers(request, await texts(asked), "classify", vllm.classes)

    async def pooling(request: Request, body: bytes) -> Response:
        asked = parse(vllm.POOLING, body)
        return await numbers(request, await texts(asked), "pool", vllm.pooled)

    async def pairs(request: Request, body: bytes) -> Response:
        items = vllm.pair_items(parse(vllm.PAIRS, body))
        return await numbers(request, items, "score", vllm.pairs)

    async def texts(asked: vllm.Asked) -> list[Item]:
        def decode(ids: list[int]) -> str:
            return members(service.batcher.loaded)[0].decode(ids)

        return await asyncio.to_thread(vllm.pooled_items, asked, service.template, decode)

    hot = {
        "/v1/score": score,
        "/get_reward": get_reward,
        "/classify": classify,
        "/pooling": pooling,
        "/score": pairs,
    }
    for path, work in hot.items():
        # Plain routes: the bodies are read by our own code, within its bounds, and nothing of what
        # FastAPI does for a request would be used. `schema` describes them.
        app.router.routes.append(Route(path, service.route(path, work), methods=["POST"]))

    async def health(request: Request) -> Response:
        broken = service.batcher.broken
        return json_response({"status": "broken" if broken else "ok"}, 503 if broken else 200)

    async def ready(request: Request) -> Response:
        if service.ready:
            return json_response({"status": "ready"})
        why = "broken" if service.batcher.pause else "loading"
        why = "draining" if service.draining else why
        return json_response({"status": why}, 503, {"retry-after": "1"})

    async def metrics(request: Request) -> Response:
        try:
            service.check_key(request)
        except ApiError as error:
            return error.response()
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    since = int(time.time())

    async def models(request: Request) -> Response:
        try:
            service.check_key(request)
        except ApiError as error:
            return error.response()
        scorer = service.batcher.scorer
        longest = None if scorer is None else scorer.max_length
        scale = None if scorer is None else scorer.scale
        lowest = None if scale is None else scale.lowest()
        return json_response(vllm.models(service.name, since, longest, lowest))

    page, policy = demo_page(service)

    async def demo(request: Request) -> Response:
        return HTMLResponse(
            page,
            headers={
                "content-security-policy": policy + "; frame-ancestors 'none'",
                "x-content-type-options": "nosniff",
            },
        )

    watching = {"/health": health, "/ready": ready, "/metrics": metrics, "/v1/models": models}
    for path, answer in watching.items():
        app.add_api_route(path, answer, methods=["GET"], response_model=None, name=path)
    app.add_api_route("/", demo, methods=["GET"], include_in_schema=False)
    for path, answer in {"/": demo, **watching}.items():
        app.router.routes.append(Route(path, answer, methods=["HEAD"]))
    app.add_exception_handler(StarletteHTTPException, _http_error)
    describe(app, service.rubric)
    return app


def _plan(item: Item, most: int) -> sentences.Plan:
    if item.bytes > MOST_SHOWN_BYTES:
        words = f"sentences are told of texts up to {MOST_SHOWN_BYTES:,} bytes"
        raise ApiError(413, "too_large", words, param="sentences")
    if most < 1:
        raise ApiError(422, "invalid_request", "--max-items leaves no room for sentences")
    return sentences.plan_of(item.prompt, item.response, most)


def _tokens(scorer: Scorer, items: Sequence[Item]) -> int:
    return sum(
        len(member.encode(item.prompt, item.response, item.evidence).input_ids)
        for member in members(scorer)
        for item in items
        if item.reason is None
    )


async def _http_error(request: Request, error: Exception) -> Response:
    """No such route, or another method, in the same form as all errors."""
    assert isinstance(error, StarletteHTTPException)
    kinds = {404: "not_found", 405: "method_not_allowed"}
    kind = kinds.get(error.status_code, "invalid_request")
    body = {"error": error_words(str(error.detail), kind, error.status_code)}
    return json_response(body, error.status_code, dict(error.headers or {}))
