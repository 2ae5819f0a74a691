"""The routes of vLLM's pooling models: /v1/models, /classify, /pooling and /score, in its shapes.

Each gives one number a text, the reward: under `probs`, `data` or `score`. Fields that only say
how vLLM computes (`use_activation`, `truncate_prompt_tokens`, `priority`, ...) change nothing here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Discriminator, Field, Tag, TypeAdapter

from reward_model.records import UserError
from reward_model.score.serve.answers import rewards
from reward_model.score.serve.batching import Item
from reward_model.score.serve.bodies import MOST, ChatMessage, Theirs, made, plain, split, text_of
from reward_model.score.serve.errors import ApiError

if TYPE_CHECKING:
    from reward_model.records.chat.templates import ChatTemplate
    from reward_model.score.scorer import Score

Ids = Annotated[list[int], Field(fail_fast=True, min_length=1, max_length=2**20)]
Decode = Callable[[list[int]], str]
"""Token ids of the served model -> their text; UserError where they are none."""


class _Texts(Theirs):
    model: str | None = None
    """Not needed: there is one."""
    input: (
        str
        | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MOST)]
        | Ids
        | Annotated[list[Ids], Field(fail_fast=True, min_length=1, max_length=MOST)]
    )
    """Responses, or whole texts of a policy where its chat template was declared; texts, or token
    ids of the served model's tokenizer."""


class _Chat(Theirs):
    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1, max_length=MOST)]
    """A conversation, of which the last answer is judged."""


class _Pooling(Theirs):
    task: Literal["classify", "score"] | None = None
    """What the number is for; there is one a text, and none a token."""
    encoding_format: Literal["float"] = "float"


class ClassifyRequest(_Texts):
    """What is posted to `/classify`: texts, or token ids."""


class ClassifyChat(_Chat):
    """The same for a conversation."""


class PoolingRequest(_Texts, _Pooling):
    """What is posted to `/pooling`: texts, or token ids."""


class PoolingChat(_Chat, _Pooling):
    """The same for a conversation."""


Asked = ClassifyRequest | ClassifyChat | PoolingRequest | PoolingChat


class PairsRequest(Theirs):
    """What is posted to `/score`: prompts and responses; one prompt may have many responses."""

    model: str | None = None
    text_1: str | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MOST)] = (
        Field(validation_alias=AliasChoices("text_1", "queries", "data_1"))
    )
    """What was asked; `queries` is the same."""
    text_2: str | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MOST)] = (
        Field(validation_alias=AliasChoices("text_2", "documents", "items", "data_2"))
    )
    """What is judged; `documents` is the same."""


def _shape(value: Any) -> str:
    return "messages" if isinstance(value, dict) and "messages" in value else "input"


CLASSIFY: TypeAdapter[ClassifyRequest | ClassifyChat] = TypeAdapter(
    Annotated[
        Annotated[ClassifyRequest, Tag("input")] | Annotated[ClassifyChat, Tag("messages")],
        Discriminator(_shape),
    ]
)
POOLING: TypeAdapter[PoolingRequest | PoolingChat] = TypeAdapter(
    Annotated[
        Annotated[PoolingRequest, Tag("input")] | Annotated[PoolingChat, Tag("messages")],
        Discriminator(_shape),
    ]
)
PAIRS: TypeAdapter[PairsRequest] = TypeAdapter(PairsRequest)


class Usage(BaseModel):
    """Tokens the model read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class _Answer(BaseModel):
    id: str
    object: Literal["list"]
    created: int
    """Seconds since 1970."""
    model: str
    usage: Usage


class Class(BaseModel):
    """One text of `/classify`: its reward is the only number."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class ClassifyAnswer(_Answer):
    """The answer of `/classify`."""

    data: list[Class]


class Pooled(BaseModel):
    """One text of `/pooling`."""

    index: int
    object: Literal["pooling"]
    data: list[float]


class PoolingAnswer(_Answer):
    """The answer of `/pooling`."""

    data: list[Pooled]


class Pair(BaseModel):
    """One pair of `/score`."""

    index: int
    object: Literal["score"]
    score: float


class PairsAnswer(_Answer):
    """The answer of `/score`."""

    data: list[Pair]


class ModelCard(BaseModel):
    """The model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str | None
    max_model_len: int | None
    """Tokens of prompt and response that are read; null while the model loads."""
    permission: list[dict[str, Any]]
    lowest: dict[str, Any] | None = None
    """Where rewards are centred: what the lowest level earns, `reward` and by dimension."""


class ModelsAnswer(BaseModel):
    """The answer of `/v1/models`."""

    object: Literal["list"]
    data: list[ModelCard]


def pooled_items(request: Asked, template: ChatTemplate | None, decode: Decode) -> list[Item]:
    """The texts of a request to `/classify` or `/pooling`.

    Raises:
        ApiError: a text has tokens of a template that was not declared, or does not fit it; ids
            are none of the tokenizer's, or no text.
    """
    if isinstance(request, _Chat):
        talk = text_of(request.messages, 0, "conversation")
        if isinstance(talk, str) or talk[-1].role != "assistant":
            raise ApiError(
                422,
                "invalid_request",
                "the last message is not the assistant's: nothing to judge",
                param="messages",
            )
        return [made("", talk)]
    several = _several(request.input)
    texts = [one if isinstance(one, str) else _text(i, one, decode) for i, one in several]
    if template is not None and template.turns:
        return [split(i, text, None, template) for i, text in enumerate(texts)]
    return [made("", plain(i, text, template)) for i, text in enumerate(texts)]


def _several(given: str | list[str] | list[int] | list[list[int]]) -> list[tuple[int, Any]]:
    """What was given of each text; a list of numbers is one."""
    one = isinstance(given, str) or isinstance(given[0], int)
    return list(enumerate([given] if one else given))


def _text(index: int, ids: list[int], decode: Decode) -> str:
    try:
        return decode(ids)
    except UserError as error:
        raise ApiError(
            422, "invalid_request", f"item {index}: {error}", item=index, param="input"
        ) from None


def pair_items(request: PairsRequest) -> list[Item]:
    """The texts of a request to `/score`: 1 to 1, 1 to many, or as many of each.

    Raises:
        ApiError: the numbers do not go together.
    """
    asked = [request.text_1] if isinstance(request.text_1, str) else request.text_1
    answers = [request.text_2] if isinstance(request.text_2, str) else request.text_2
    if len(asked) == 1:
        asked = asked * len(answers)
    if len(asked) != len(answers):
        raise ApiError(
            422,
            "invalid_request",
            f"{len(asked)} texts before and {len(answers)} after: one to many, or as many of each",
            param="text_2",
        )
    return [made(prompt, response) for prompt, response in zip(asked, answers, strict=True)]


def classes(scores: Sequence[Score], no_opinion: float | None = None) -> list[dict[str, Any]]:
    """One number a text: whoever reads the last of `probs` reads the reward."""
    return [
        {"index": i, "label": "reward", "probs": [reward], "num_classes": 1}
        for i, reward in enumerate(rewards(scores, no_opinion))
    ]


def pooled(scores: Sequence[Score], no_opinion: float | None = None) -> list[dict[str, Any]]:
    """One number a text, as a sequence classifier of vLLM gives it."""
    return [
        {"index": i, "object": "pooling", "data": [reward]}
        for i, reward in enumerate(rewards(scores, no_opinion))
    ]


def pairs(scores: Sequence[Score], no_opinion: float | None = None) -> list[dict[str, Any]]:
    """One number a pair."""
    return [
        {"index": i, "object": "score", "score": reward}
        for i, reward in enumerate(rewards(scores, no_opinion))
    ]


def envelope(kind: str, model: str, data: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
    """An answer, with the id and the usage that clients look for."""
    return {
        "id": f"{kind}-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }


def models(
    name: str, since: int, longest: int | None, lowest: dict[str, Any] | None
) -> dict[str, Any]:
    """The list of the one model; where rewards are centred, with what the lowest level earns."""
    card: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": since,
        "owned_by": "multidim-reward",
        "root": name,
        "parent": None,
        "max_model_len": longest,
        "permission": [],
        **({} if lowest is None else {"lowest": lowest}),
    }
    return {"object": "list", "data": [card]}
