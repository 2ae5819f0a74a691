"""`openai:MODEL`: OpenAI and every server that speaks its chat completions.

vLLM, Ollama, DashScope's compatible mode: by base URL, as an argument or in OPENAI_BASE_URL. The
SDK sends and waits; retries, limits and the reading of replies are ours, because servers answer
200 with an error in the body, without choices, or with half a JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from reward_model.llm.addresses import OPENAI_KEY, OPENAI_URL, check_url, clean_url
from reward_model.llm.addresses import key_variable as find_variable
from reward_model.llm.base import (
    LLMError,
    RefusedError,
    Reply,
    Request,
    RetryableError,
)
from reward_model.llm.capabilities import Capabilities, Learning
from reward_model.llm.extras import headers_of, joined, secrets_of
from reward_model.llm.failures import (
    Where,
    connection_error,
    failure,
    is_of_proxy,
    page_words,
    read_key,
    retry_after,
)
from reward_model.llm.replies import error_fields, read_reply
from reward_model.records import UserError
from reward_model.records.errors import first_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OFFICIAL = "https://api.openai.com/v1"
BACKSTOP_S = 1800.0
"""The SDK's own time-out; callers set a shorter one around each call."""
CONNECTIONS = 16
"""Calls out at once through one client of the SDK, see `_free`."""
_MOST_CHANGES = 12
"""Times one request is built anew; each takes a lesson, and a model has eleven to give."""


class OpenAILLM(Learning):
    """A model behind an OpenAI-compatible server.

    Args:
        model: its name at the server.
        base_url: None takes OPENAI_BASE_URL, else OpenAI itself.
        own: the address is this model's own, and part of its name.
        key_variable: environment variable of the key; None goes by the host.
        header: lines sent with every call, `Name: value`.
        body: further fields of the calls, whose secrets are kept out of messages.

    Raises:
        UserError: the server is OpenAI's or Alibaba's and no key is in the environment.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        own: bool = False,
        key_variable: str | None = None,
        header: Sequence[str] = (),
        body: Mapping[str, Any] | None = None,
    ) -> None:
        url = check_url(base_url or os.environ.get(OPENAI_URL) or OFFICIAL)
        host = urlsplit(url).hostname or ""
        aliyun = host.endswith("aliyuncs.com")
        variable = key_variable or find_variable(url, OPENAI_KEY, own=own)
        key = read_key(variable)
        if not key and (key_variable or aliyun or host == "api.openai.com"):
            raise UserError(f"no key for {host}", expected=f"the environment variable {variable}")
        qwen = "qwen" in model.lower() or "qwq" in model.lower()
        self.model = model
        self._name = (
            f"openai:{model}@{urlsplit(clean_url(url)).netloc}" if own else f"openai:{model}"
        )
        self._url = clean_url(url)
        self._headers = headers_of(header)
        self.where = Where(model, self._url, variable, aliyun or qwen, secrets_of(header, body))
        official = host == "api.openai.com"
        self._dialect: Literal["openai", "alibaba", "other"] = (
            "openai" if official else "alibaba" if aliyun else "other"
        )
        self.accepts = Capabilities(
            token_limit="max_completion_tokens" if url == OFFICIAL else "max_tokens",
            json="json_object" if qwen and aliyun else "json_schema",
            thinking="switch" if qwen else "none" if official else "asked",
        )
        self._key = key or "none"
        parts = urlsplit(url)
        self._query = dict(parse_qsl(parts.query))
        self._address = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        # The first one now: importing the SDK takes seconds, which no event loop should wait for.
        self._clients = [_Client(self.sdk())]

    @property
    def name(self) -> str:
        """As given on the command line."""
        return self._name

    @property
    def base_url(self) -> str:
        """Address without user, password or query."""
        return self._url

    def body(self, request: Request) -> dict[str, Any]:
        """The request as this server takes it.

        Raises:
            UserError: a variable that stands in its further fields is not in the environment.
        """
        accepts = self.accepts
        response_format, messages = accepts.ask_json(request)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
        }
        if request.temperature is not None and accepts.temperature:
            body["temperature"] = request.temperature
        if request.max_tokens is not None:
            body[accepts.token_limit] = request.max_tokens
        if request.seed is not None and accepts.seed:
            body["seed"] = request.seed
        if request.top_logprobs is not None and accepts.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if response_format is not None:
            body["response_format"] = response_format
        body |= accepts.ask_thinking(request, self._dialect)
        if accepts.stream:
            body["stream"] = True
            if accepts.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return joined(body, request.extra)

    async def complete(self, request: Request) -> Reply:
        """Answer once; a parameter that the server refuses is left out or changed, and sent again.

        Raises:
            RetryableError, RefusedError, FatalError: as they say.
        """
        for _ in range(_MOST_CHANGES):
            body = self.body(request)
            try:
                reply = await self._send(body, request)
                return reply.model_copy(update={"without": self.accepts.without()})
            except _BadRequestError as error:
                self.accepts.learn(body, error.param, error.message)
                if self.body(request) == body:
                    raise error.meaning from None
        raise RefusedError("request not accepted, whatever was left out", content=False)

    async def _send(self, body: dict[str, Any], request: Request) -> Reply:
        from openai import (
            APIConnectionError,
            APIStatusError,
            APITimeoutError,
            HttpxBinaryResponseContent,
            OpenAIError,
        )

        client = self._free()
        client.busy += 1
        try:
            # The generic post: `chat.completions.create` spends a millisecond on checking the
            # types of its arguments, and fails on replies that are not quite OpenAI's.
            raw = await client.sdk.post(
                "/chat/completions", body=body, cast_to=HttpxBinaryResponseContent
            )
        except APITimeoutError:
            raise RetryableError("time-out", billed=True) from None
        except APIStatusError as error:
            raise self._status_error(error.status_code, error.response, request) from None
        except APIConnectionError as error:
            # Only what never reached the server is surely free.
            sent = _root(error) not in ("ConnectError", "ProxyError")
            raise connection_error(error, self.where, sent=sent) from None
        except OpenAIError as error:
            raise RetryableError(f"broken reply ({type(error).__name__})", billed=True) from None
        except Exception as error:
            if not is_of_proxy(error):
                raise
            raise connection_error(error, self.where, sent=False) from None
        finally:
            client.busy -= 1
        return read_reply(raw.content, self.where, request)

    def _free(self) -> _Client:
        """A client with room; the SDK looks at all connections of a client for each request."""
        for client in self._clients:
            if client.busy < CONNECTIONS:
                return client
        self._clients.append(_Client(self.sdk()))
        return self._clients[-1]

    def sdk(self) -> AsyncOpenAI:
        """A client of the SDK for this server."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        try:
            # A redirect would carry what is meant for one host to another.
            http_client = DefaultAsyncHttpxClient(follow_redirects=False)
        except (ImportError, ValueError):
            raise UserError(
                "a proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY that cannot be used",
                expected="an http proxy, or socks5 with the package socksio installed",
                mend="set NO_PROXY for servers of your own",
            ) from None
        except OSError as error:
            raise UserError(
                f"certificates that cannot be read ({first_line(error)})",
                expected="what SSL_CERT_FILE and SSL_CERT_DIR name, if they are set",
                mend="unset them, or name a file that is there",
            ) from None
        return AsyncOpenAI(
            api_key=self._key,
            base_url=self._address,
            default_query=self._query or None,
            default_headers=self._headers or None,
            max_retries=0,
            timeout=BACKSTOP_S,
            http_client=http_client,
        )

    def _status_error(self, status: int, response: Any, request: Request) -> Exception:
        try:
            body = json.loads(response.content)
        except ValueError:
            body = None
        code, message, param = error_fields(body)
        if body is None:
            message = page_words(response.content)
        if 300 <= status < 400:
            message = urlsplit(response.headers.get("location", "")).netloc
        wait = retry_after(response.headers)
        meaning = failure(status, code, message, self.where, request, retry_after_s=wait)
        if status in {400, 422} and isinstance(meaning, RefusedError) and not meaning.content:
            return _BadRequestError(param, message, meaning)
        return meaning

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.sdk.close()
        self._clients.clear()


@dataclass
class _Client:
    sdk: AsyncOpenAI
    busy: int = 0


class _BadRequestError(Exception):
    """A 400 that may be about one parameter."""

    def __init__(self, param: str, message: str, meaning: LLMError) -> None:
        super().__init__(str(meaning))
        self.param, self.message, self.meaning = param, message, meaning


def _root(error: BaseException) -> str:
    """Name of the first cause: `ConnectError`, `RemoteProtocolError`."""
    while error.__cause__ is not None and type(error.__cause__).__module__.startswith("http"):
        error = error.__cause__
    return type(error).__name__
