"""What a provider's error answer means: retry, slow down, refused, or stop at once.

`failure(status, code, message, ...)` classifies OpenAI-compatible and DashScope errors alike; a
sentence of the server is passed on only when it quotes neither a key nor the prompt.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from reward_model.llm.addresses import proxy_of
from reward_model.llm.base import FatalError, LLMError, RefusedError, Request, RetryableError
from reward_model.llm.extras import secrets_of
from reward_model.records import UserError

_REFUSED = ("contentfilter", "contentpolicy", "datainspection", "moderation", "responsibleai")
_MONEY = ("arrear", "billing", "overdue", "unpurchased", "notpurchased", "freetier", "balance")
_KEY = ("apikey", "invalidauthentication", "accountdeactivated")
_MODEL = ("modelnotfound", "modelnotexist", "modelaccessdenied")
_RATE = ("throttl", "ratelimit", "limitrequests", "limittokens", "limitburst", "toomanyrequests")
_PER_TIME = re.compile(r"per[ -]?(second|minute|min\b)|/min|\b[rt]pm\b|rate", re.I)
_TOO_LARGE = re.compile(r"request too large", re.I)
_LIMIT = re.compile(r"limit\D{0,12}([\d,]+).*?requested\D{0,12}([\d,]+)", re.I | re.S)
_SECRET = re.compile(r"\b(sk|ak)-[\w*.\-]{3,}\w|bearer \S+|(?=[a-z*_-]*\d)[\w*-]{20,}", re.I)
_WINDOW = 16
"""Characters in a row that a server's sentence must share with the prompt to be held back: more
than a word that both happen to use, less than a clause of a report."""


class Where(NamedTuple):
    """What an error message may name."""

    model: str
    base_url: str
    key_variable: str
    """Environment variable that holds the key."""
    aliyun: bool = False
    """Alibaba's meaning of codes: there `insufficient_quota` is tokens per minute."""
    secrets: tuple[str, ...] = ()
    """What goes along in headers and bodies and is never shown, should a server say it."""

    def masked(self, message: str) -> str:
        """A server's words without them."""
        for secret in self.secrets:
            message = message.replace(secret, "[...]")
        return message


def failure(
    status: int,
    code: str,
    message: str,
    where: Where,
    request: Request | None = None,
    *,
    retry_after_s: float | None = None,
) -> LLMError:
    """The exception that an error answer means; the caller raises it.

    >>> where = Where("qwen-plus", "https://dashscope.aliyuncs.com", "DASHSCOPE_API_KEY", True)
    >>> type(failure(429, "Throttling.RateQuota", "slow down", where)).__name__
    'RetryableError'
    >>> print(failure(401, "InvalidApiKey", "", where))
    found a key that dashscope.aliyuncs.com refuses (401, InvalidApiKey); expected a valid key in \
the environment variable DASHSCOPE_API_KEY
    """
    message = where.masked(message)
    for secret in secrets_of((), request.extra if request else None):
        message = message.replace(secret, "[...]")
    flat = re.sub(r"[^a-z]", "", code.lower())
    label = f"{status}, {code}" if code else str(status)
    host = urlsplit(where.base_url).netloc or where.base_url
    said = quote(message, request)
    tail = f": {said}" if said else ""

    def has(names: tuple[str, ...]) -> bool:
        return any(name in flat for name in names)

    if has(_REFUSED):
        return RefusedError(f"content refused by the provider ({label})")
    if status == 429 and _never_fits(message):
        return RefusedError(
            f"the request alone is larger than the limit of {where.model} ({label}){tail}",
            content=False,
        )
    quota = "insufficientquota" in flat
    if quota and (where.aliyun or _PER_TIME.search(message)):
        return _slow_down(label, retry_after_s)
    if status == 402 or quota or has(_MONEY):
        return FatalError(
            f"an account at {host} without money or quota for {where.model} ({label}){tail}",
            expected=f"credit on the account of the key in {where.key_variable}",
        )
    if status == 401 or has(_KEY):
        return FatalError(
            f"a key that {host} refuses ({label})",
            expected=f"a valid key in the environment variable {where.key_variable}"
            if where.key_variable
            else "a key of its own: name its environment variable as MODEL@URL#VARIABLE",
        )
    if status == 404 or has(_MODEL):
        return FatalError(
            f"no model {where.model!r} at {where.base_url} ({label}){tail}",
            expected="a model that this server has",
            mend="check its name and the base URL",
        )
    if status == 429 or has(_RATE):
        return _slow_down(label, retry_after_s)
    if 300 <= status < 400:
        return FatalError(
            f"{host} sends calls elsewhere ({label}){tail}",
            expected="the address of the API itself",
            mend="check the base URL; a login page may stand before it",
        )
    if status == 403:
        return FatalError(
            f"no right to use {where.model} at {host} ({label}){tail}",
            expected=f"a key in {where.key_variable} that may use it",
        )
    # 529 is Anthropic's, passed on by gateways. Both mean too many calls, if not only ours.
    if status in {503, 529}:
        return RetryableError(f"overloaded ({label})", retry_after_s=retry_after_s, rate=True)
    if status in {400, 413, 422}:
        return RefusedError(f"request not accepted ({label}){tail}", content=False)
    return RetryableError(f"server error ({label})", retry_after_s=retry_after_s)


def _never_fits(message: str) -> bool:
    """Whether a rate limit is one that this request never fits, so that waiting is no use.

    >>> _never_fits("tokens per min: Limit 30000, Used 29000, Requested 2000")
    False
    """
    found = _LIMIT.search(message)
    if found is None:
        return _TOO_LARGE.search(message) is not None
    limit, requested = (int(digits.replace(",", "") or 0) for digits in found.groups())
    return requested > limit


def _slow_down(label: str, retry_after_s: float | None) -> RetryableError:
    return RetryableError(f"rate limit ({label})", retry_after_s=retry_after_s, rate=True)


def connection_error(error: BaseException, where: Where, *, sent: bool) -> LLMError:
    """What a connection that failed means: why, and whether it may pass.

    Args:
        sent: the request may have gone out, so the provider may charge for it.
    """
    host = urlsplit(where.base_url).netloc or where.base_url
    causes = list(_causes(error))
    by = ", or at the proxy that the environment names" if proxy_of(where.base_url) else ""
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = getattr(cause, "verify_message", "") or "certificate verify failed"
            return FatalError(
                f"a certificate of {host} that cannot be trusted (TLS: {why})",
                expected="one signed by an authority that this machine knows",
                mend="name your authority's certificate in SSL_CERT_FILE",
            )
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause):
            return FatalError(
                f"{host} does not speak TLS", expected="the scheme http:// in its base URL"
            )
        if isinstance(cause, socket.gaierror):
            return RetryableError(f"no host {host!r} is known (DNS: {cause.strerror})")
        if isinstance(cause, ConnectionRefusedError):
            return RetryableError(f"nobody listens at {host}{by}")
    kind = type(causes[-1]).__name__
    if isinstance(causes[-1], ssl.SSLError):
        return RetryableError(f"no connection to {host} (TLS: {causes[-1].reason})")
    if not sent:
        via = " through the proxy that the environment names" if by else ""
        return RetryableError(f"no connection to {host}{via} ({kind})")
    return RetryableError(f"connection lost ({kind})", billed=True)


def is_of_proxy(error: BaseException) -> bool:
    """What a SOCKS proxy that hangs up raises, which comes through the SDK as it is."""
    return type(error).__module__.startswith("socksio")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, those of a group included."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [one.__cause__ or one.__context__, getattr(one, "os_error", None)]
        inner += getattr(one, "exceptions", ())
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def page_words(data: bytes) -> str:
    """Title of a web page that stands where an answer should; empty where it is none.

    >>> page_words(b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>")
    "a web page ('Sign in')"
    """
    text = data[:65536].decode("utf-8", "replace")
    if not text.lstrip().startswith("<"):
        return ""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.S | re.I)
    words = title[1] if title else re.sub(r"<[^>]*>", " ", text)
    return f"a web page ({quote(' '.join(words.split())[:60])!r})"


def quote(message: str, request: Request | None = None) -> str:
    """A server's sentence made safe to show: shortened, without keys, empty if it quotes a prompt.

    >>> quote("Incorrect API key provided: sk-abc123.")
    'Incorrect API key provided: [...].'
    """
    text = " ".join(message.encode("utf-8", "replace").decode().split())[:200]
    text = _SECRET.sub("[...]", text)
    if request is not None:
        prompts = [" ".join(m.content.split()) for m in request.messages]
        pieces = {text[i : i + _WINDOW] for i in range(max(1, len(text) - _WINDOW + 1))}
        if any(piece in prompt for prompt in prompts for piece in pieces):
            return ""
        if any(prompt and prompt in text for prompt in prompts):
            return ""
    return text


def retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Seconds a server asks to wait, from `retry-after-ms` or `retry-after` (seconds or a date).

    >>> retry_after({"retry-after": "3"}), retry_after({"retry-after-ms": "250"}), retry_after({})
    (3.0, 0.25, None)
    """
    if not headers:
        return None
    low = {str(name).lower(): str(value) for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(low[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        when = parsedate_to_datetime(low["retry-after"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return max(0.0, when - time.time())


def read_key(variable: str) -> str:
    """Key from the environment; empty when there is none.

    Raises:
        UserError: it holds what no key can, which would fail later in words that quote it.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(
            "characters that no key has",
            expected=f"a key alone in the environment variable {variable}",
            mend="copy it again, without quotes, spaces or line breaks",
        )
    return key
