"""Request bodies: what may be sent to each route, and how it becomes texts to score.

`parse(SCORE, body)` validates; `score_items(request)` gives prompts and responses, or says which
text cannot be scored and why.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)

from reward_model.records import Text, UserError, as_text, parse_json
from reward_model.records.chat.templates import ChatTemplate, plain_response, split_query
from reward_model.records.texts import as_words
from reward_model.score.serve.batching import Item
from reward_model.score.serve.errors import ApiError


class _Ours(BaseModel):
    """A shape of this server: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Theirs(BaseModel):
    """A shape of another project: what it sends besides is not needed here."""

    model_config = ConfigDict(extra="ignore", strict=True)


class ChatMessage(Theirs):
    """One message of a conversation, as OpenAI's clients write it."""

    role: str = Field(validation_alias=AliasChoices("role", "from"))
    content: str | list[str | dict[str, Any]] | None = Field(
        None, validation_alias=AliasChoices("content", "value")
    )
    """Its text, or parts that are text; null where it only calls a tool."""
    tool_calls: Any = None
    reasoning_content: str | None = None
    """A thought, which is not judged."""
    refusal: str | None = None


Words = str | Annotated[list[ChatMessage], Field(fail_fast=True)]


class ScoreItem(_Ours):
    """One response to judge."""

    prompt: Words = ""
    """What was asked, with its tables; empty where there is none."""
    response: Words
    """What is judged."""


MOST = 65_536
"""Elements of a list that are looked at; a request is held to `--max-items` as well. The first
fault ends the reading: millions of wrong elements cost no more than one."""
Weights = dict[str, Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]]


class _Terms(_Ours):
    weights: Annotated[Weights, Field(min_length=1)] | None = None
    """Dimension -> share in the reward, instead of the rubric's; those left out count 0."""
    risk: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    """Lambda of the reward's mean - lambda * sd."""


class ScoreOne(ScoreItem, _Terms):
    """One response, with what its score is made by."""

    explain: bool = False
    """Tell what the checks found, where the model reads their evidence."""
    sentences: bool = False
    """Tell which sentences carry each dimension: the text is scored once more without each."""


class ScoreMany(_Terms):
    """Several responses at once."""

    items: Annotated[list[ScoreItem], Field(fail_fast=True, min_length=1, max_length=MOST)]


def _which(value: Any) -> str:
    return "many" if isinstance(value, dict) and "items" in value else "one"


ScoreRequest = Annotated[
    Annotated[ScoreOne, Tag("one")] | Annotated[ScoreMany, Tag("many")], Discriminator(_which)
]


class RewardRequest(Theirs):
    """What OpenRLHF posts to a remote reward model."""

    query: Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MOST)]
    """Prompt and response in one text, with the tokens of the policy's chat template."""
    prompts: Annotated[list[str | None], Field(fail_fast=True, max_length=MOST)] | None = None
    """The beginnings of the queries."""
    labels: Any = None
    """Not needed."""


SCORE: TypeAdapter[ScoreOne | ScoreMany] = TypeAdapter(ScoreRequest)
REWARD: TypeAdapter[RewardRequest] = TypeAdapter(RewardRequest)

Kind = TypeVar("Kind")


def parse(kind: TypeAdapter[Kind], body: bytes) -> Kind:
    """A validated body.

    Raises:
        ApiError: 400 where it is no JSON in UTF-8, 413 where it has too many values, 422 where it
            is not of this kind.
    """
    _check_size(body)
    try:
        # The parser takes these for numbers; JSON does not.
        if b"NaN" in body or b"Infinity" in body:
            parse_json(body)
        return kind.validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise ApiError(400, "invalid_json", f"the body is broken: {found[0]['msg']}") from None
        if found[0]["type"] == "too_long":
            where = _words(found[0]["loc"], f"more than {MOST:,} elements")
            raise ApiError(413, "too_many", where) from None
        words = "; ".join(_words(e["loc"], e["msg"]) for e in found[:3])
        raise ApiError(422, "invalid_request", words, param=_words(found[0]["loc"], "")) from None
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_json", "the body is broken: not JSON in UTF-8") from None


_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*"', re.S)
_MOST_NESTED, _MOST_VALUES = 200_000, 2_000_000
"""Lists and objects, and values, of a whole body; some hundred times what a full request has."""


def _check_size(body: bytes) -> None:
    """Refuse a body of more values than any request has, before an object is made of each.

    Raises:
        ApiError: 413.
    """
    if len(body) <= _MOST_NESTED:
        return
    bare = _STRING.sub(b"", body)
    if bare.count(b"[") + bare.count(b"{") > _MOST_NESTED or bare.count(b",") > _MOST_VALUES:
        raise ApiError(413, "too_many", "the body has more values than any request needs")


_TAGS = {"one", "many", "input", "messages"}
_UNIONS = (
    "str",
    "list[ChatMessage]",
    "list[str]",
    "list[int]",
    "list[union[str,dict[str,any]]]",
    "constrained-str",
    "[key]",
)


def _words(where: tuple[int | str, ...], message: str) -> str:
    """A fault with its place, without pydantic's own names for the branches of a union."""
    kept = [str(p) for i, p in enumerate(where) if p not in _UNIONS and (i or p not in _TAGS)]
    return ": ".join(filter(None, (".".join(kept), message)))


def score_items(request: ScoreOne | ScoreMany) -> list[Item]:
    """The texts of a request to `/v1/score`."""
    asked = request.items if isinstance(request, ScoreMany) else [request]
    return [
        made(text_of(one.prompt, i, "prompt"), text_of(one.response, i, "response"))
        for i, one in enumerate(asked)
    ]


def reward_items(request: RewardRequest, template: ChatTemplate | None) -> list[Item]:
    """The texts of a request to `/get_reward`.

    Raises:
        ApiError: a query cannot be taken apart for certain.
    """
    prompts = request.prompts or [None] * len(request.query)
    if len(prompts) != len(request.query):
        raise ApiError(
            422, "invalid_request", f"{len(request.query)} queries and {len(prompts)} prompts"
        )
    pairs = zip(request.query, prompts, strict=True)
    return [split(i, query, prompt, template) for i, (query, prompt) in enumerate(pairs)]


@contextlib.contextmanager
def _told(index: int) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise ApiError(422, "chat_template", f"item {index}: {error}", item=index) from None


def split(index: int, query: str, prompt: str | None, template: ChatTemplate | None) -> Item:
    """Prompt and response of a text that holds both; see `split_query`.

    Raises:
        ApiError: it cannot be taken apart for certain.
    """
    with _told(index):
        return made(*split_query(query, prompt, template))


def plain(index: int, text: str, template: ChatTemplate | None) -> str:
    """A response that stands alone.

    Raises:
        ApiError: it holds special tokens that nobody declared.
    """
    with _told(index):
        return plain_response(text, template)


def text_of(words: Words, index: int, what: str) -> Text:
    """A text or a conversation as it is judged.

    Raises:
        ApiError: it holds what cannot be judged, such as an image.
    """
    if isinstance(words, str):
        return words
    try:
        return as_words([message.model_dump(exclude_unset=True) for message in words], what)
    except UserError as error:
        raise ApiError(422, "invalid_request", f"item {index}: {error}", item=index) from None


def made(prompt: Text, response: Text) -> Item:
    """A text to score, with its size."""
    return Item(prompt, response, len((as_text(prompt) + as_text(response)).encode()))
