"""`dashscope:MODEL`: Alibaba's models through the native text generation of its SDK.

`AioGeneration` is in both generations of the SDK (1.24 to 2.x) and answers alike: a failure is no
exception but a status, a code and a message. A 200 with an error in its body is a TypeError there.
The newest models speak only the compatible mode: `openai:MODEL` with that base URL.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from reward_model.llm.addresses import check_url, clean_url, proxy_of
from reward_model.llm.addresses import key_variable as find_variable
from reward_model.llm.base import RefusedError, Reply, Request, RetryableError
from reward_model.llm.capabilities import Capabilities, Learning
from reward_model.llm.extras import headers_of, joined, secrets_of
from reward_model.llm.failures import (
    Where,
    connection_error,
    failure,
    read_key,
    retry_after,
)
from reward_model.llm.replies import read_choice, read_usage
from reward_model.llm.streams import whole_body
from reward_model.records import UserError

KEY = "DASHSCOPE_API_KEY"
BACKSTOP_S = 1800
"""The SDK's own time-out; callers set a shorter one around each call."""
_MOST_CHANGES = 12
_TEACHES = re.compile(r"stream|http call|\brole\b", re.I)
"""Lessons that come under other codes than that of a parameter."""


class DashScopeLLM(Learning):
    """A model of Alibaba's native API.

    Args:
        model: its name.
        base_url: None takes DASHSCOPE_HTTP_BASE_URL, else the SDK's own address.
        own: the address is this model's own, and part of its name.
        key_variable: environment variable of the key; None goes by the host.
        header: lines sent with every call, `Name: value`.
        body: further fields of the calls, whose secrets are kept out of messages.

    Raises:
        UserError: the server is Alibaba's and no key is in the environment.
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
        import dashscope
        from dashscope.api_entities.aiohttp_request import AioHttpRequest

        _quiet()
        url = base_url or os.environ.get("DASHSCOPE_HTTP_BASE_URL") or dashscope.base_http_api_url
        url = check_url(url)
        variable = key_variable or find_variable(url, KEY, own=own)
        key = read_key(variable)
        if not key and (key_variable or "aliyuncs.com" in url):
            raise UserError(
                f"no key for {clean_url(url)}", expected=f"the environment variable {variable}"
            )
        self._proxy = proxy_of(url)
        kind = urlsplit(self._proxy or "http://").scheme
        if kind not in ("http", "https"):
            raise UserError(
                f"a proxy of kind {kind} in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, which Alibaba's "
                "native protocol does not go through",
                expected="an http proxy",
                mend="set NO_PROXY for this host, or take openai:MODEL with the compatible address",
            )
        self.model = model
        self._name = f"dashscope:{model}" + (f"@{urlsplit(clean_url(url)).netloc}" if own else "")
        self._address = url
        self._url = clean_url(url)
        self._key = key or "none"
        self._headers = headers_of(header)
        self._where = Where(model, self._url, variable, True, secrets_of(header, body))
        # The SDK's own type of a choice has no place for log-probabilities: asked for, they would
        # break every reply.
        self.accepts = Capabilities(json="json_object", thinking="switch", logprobs=False)
        # The first generation opens a connection a call; later ones take a session of ours, which
        # unlike theirs does not queue calls beyond a hundred.
        self._sessions = "session" in AioHttpRequest.__init__.__code__.co_varnames
        self._session: Any = None

    @property
    def name(self) -> str:
        """As given on the command line."""
        return self._name

    @property
    def base_url(self) -> str:
        """Address without user, password or query."""
        return self._url

    def body(self, request: Request) -> dict[str, Any]:
        """The request as this server takes it."""
        accepts = self.accepts
        response_format, messages = accepts.ask_json(request)
        body: dict[str, Any] = {
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "result_format": "message",
        }
        if request.temperature is not None and accepts.temperature:
            body["temperature"] = request.temperature
        if request.max_tokens is not None:
            body["max_tokens"] = request.max_tokens
        if request.seed is not None and accepts.seed:
            body["seed"] = request.seed
        if request.top_logprobs is not None and accepts.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if response_format is not None:
            body["response_format"] = response_format
        body |= accepts.ask_thinking(request, "alibaba")
        if accepts.stream:
            body |= {"stream": True, "incremental_output": True}
        return joined(body, request.extra)

    async def complete(self, request: Request) -> Reply:
        """Answer once; a parameter that the server refuses is left out or changed, and sent again.

        Raises:
            RetryableError, RefusedError, FatalError: as they say.
        """
        for _ in range(_MOST_CHANGES):
            body = self.body(request)
            answer = await self._send(body)
            status = int(answer.get("status_code") or 0)
            if status == 200:
                return self._read(answer)
            code, message = str(answer.get("code") or ""), str(answer.get("message") or "")
            if status == 400 and (code.startswith("InvalidParameter") or _TEACHES.search(message)):
                self.accepts.learn(body, "", message)
                if self.body(request) != body:
                    continue
            wait = retry_after(answer.get("headers"))
            raise failure(status, code, message, self._where, request, retry_after_s=wait)
        raise RefusedError("request not accepted, whatever was left out", content=False)

    async def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        import aiohttp
        from dashscope import AioGeneration

        options: dict[str, Any] = {"session": await self._open()} if self._sessions else {}
        if self._headers:
            options["headers"] = dict(self._headers)  # the SDK takes some out
        try:
            answer: Any = await AioGeneration.call(
                model=self.model,
                api_key=self._key,
                base_address=self._address,
                request_timeout=BACKSTOP_S,
                **options,
                **body,
            )
            if body.get("stream"):
                return await _whole(answer)
        except asyncio.CancelledError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            raise connection_error(error, self._where, sent=sent) from None
        except (TypeError, KeyError, ValueError, AttributeError, StopAsyncIteration) as error:
            # What the SDK raises where a body is no JSON, or a 200 holds no output.
            raise RetryableError(f"broken reply ({type(error).__name__})", billed=True) from None
        return dict(answer)

    async def _open(self) -> Any:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), trust_env=True, proxy=self._proxy
            )
        return self._session

    def _read(self, answer: dict[str, Any]) -> Reply:
        output = answer.get("output")
        choices = output.get("choices") if isinstance(output, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise RetryableError("a reply without choices", billed=True)
        usage = answer.get("usage")
        used = read_usage(dict(usage) if isinstance(usage, dict) else None)
        reply = read_choice(dict(choices[0]), self.model, used)
        return reply.model_copy(update={"without": self.accepts.without()})

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _whole(pieces: AsyncIterator[Any]) -> dict[str, Any]:
    """One answer of those that a stream is made of; the first failure where there is one."""
    outputs: list[dict[str, Any]] = []
    last: dict[str, Any] = {}
    async for piece in pieces:
        last = dict(piece)
        if int(last.get("status_code") or 0) != 200:
            return last
        output = last.get("output")
        outputs.append({**(dict(output) if output else {}), "usage": last.get("usage")})
    body = whole_body(outputs)
    return {**last, "output": {"choices": body["choices"]}, "usage": body.get("usage")}


def _quiet() -> None:
    """Keep the SDK from printing servers' messages, which may quote a prompt.

    Its first generation logs every failure as an error to a logger without a handler, which
    Python prints. Who asks for its log by DASHSCOPE_LOGGING_LEVEL gets it.
    """
    if not os.environ.get("DASHSCOPE_LOGGING_LEVEL"):
        logging.getLogger("dashscope").setLevel(logging.CRITICAL + 1)
