"""The OpenAPI description: the bodies are read by our own code, so it is told what they are."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from reward_model.rubrics import Rubric
from reward_model.score.serve import vllm
from reward_model.score.serve.answers import ErrorAnswer, RewardAnswer, ScoreAnswer
from reward_model.score.serve.bodies import REWARD, SCORE

BODIES: dict[str, tuple[TypeAdapter[Any], type[BaseModel], str]] = {
    "/v1/score": (SCORE, ScoreAnswer, "Score one response, or several."),
    "/get_reward": (REWARD, RewardAnswer, "Rewards as OpenRLHF asks for them."),
    "/classify": (
        vllm.CLASSIFY,
        vllm.ClassifyAnswer,
        "Rewards as vLLM gives classes: one number a text.",
    ),
    "/pooling": (vllm.POOLING, vllm.PoolingAnswer, "The same as vLLM pools: one number a text."),
    "/score": (vllm.PAIRS, vllm.PairsAnswer, "Rewards as vLLM scores pairs of texts."),
}
ERRORS = {
    "400": "The body is no JSON.",
    "401": "The key is missing or wrong.",
    "413": "The body is too large, or has too many texts.",
    "415": "The body is not said to be JSON.",
    "422": "The body is not as described, or a text has no reward.",
    "500": "The model failed.",
    "503": "No room, not ready yet, stopping, or broken: ask again after Retry-After.",
    "504": "No answer in time.",
}
_REF = "#/components/schemas/{model}"


def describe(app: FastAPI, rubric: Rubric) -> None:
    """Give an application its description; `rubric` says which dimensions can be weighed."""
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_document(app, rubric))
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI, rubric: Rubric) -> dict[str, Any]:
    out = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    parts: dict[str, Any] = out.setdefault("components", {}).setdefault("schemas", {})
    for path, (body, answer, words) in BODIES.items():
        wrong = _schema(TypeAdapter(ErrorAnswer), parts)
        post = {
            "summary": words,
            "operationId": path.strip("/").replace("/", "_"),
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _schema(body, parts)}},
            },
            "responses": {
                "200": _response("The result.", _schema(TypeAdapter(answer), parts)),
                **{status: _response(meaning, wrong) for status, meaning in ERRORS.items()},
            },
            "security": [{}, {"key": []}],
        }
        out["paths"][path] = {"post": post}
    _watching(out["paths"], parts)
    for name in ("ScoreOne", "ScoreMany"):
        weights = parts[name]["properties"]["weights"]
        for option in weights.get("anyOf", [weights]):
            if option.get("type") == "object":
                option["propertyNames"] = {"enum": list(rubric.names)}
    out["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return out


def _watching(paths: dict[str, Any], parts: dict[str, Any]) -> None:
    status = {"type": "object", "properties": {"status": {"type": "string"}}}
    for path in ("/health", "/ready"):
        paths[path]["get"]["responses"] = {
            "200": _response("Yes.", status),
            "503": _response("No.", status),
        }
    paths["/metrics"]["get"]["responses"] = {
        "200": {"description": "Counters.", "content": {"text/plain": {}}},
        "401": _response(ERRORS["401"], _schema(TypeAdapter(ErrorAnswer), parts)),
    }
    paths["/v1/models"]["get"]["responses"] = {
        "200": _response("The model.", _schema(TypeAdapter(vllm.ModelsAnswer), parts)),
        "401": _response(ERRORS["401"], _schema(TypeAdapter(ErrorAnswer), parts)),
    }
    for path in ("/metrics", "/v1/models"):
        paths[path]["get"]["security"] = [{}, {"key": []}]


def _response(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _schema(kind: TypeAdapter[Any], parts: dict[str, Any]) -> dict[str, Any]:
    """The schema of a kind, its parts put where all of them are."""
    schema = kind.json_schema(ref_template=_REF)
    parts.update(schema.pop("$defs", {}))
    if "title" in schema and schema.get("type") == "object":
        parts[schema["title"]] = schema
        return {"$ref": _REF.format(model=schema["title"])}
    return schema
