"""Where calls go and which key goes with them: `openai:MODEL@URL`, base URLs, providers' hosts."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import PlainSerializer

from reward_model.records import UserError
from reward_model.records.files import Pathish

OPENAI_KEY, OPENAI_URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
_HOSTS = {
    "openai.com": OPENAI_KEY,
    "aliyuncs.com": "DASHSCOPE_API_KEY",
    "anthropic.com": "ANTHROPIC_API_KEY",
    "azure.com": "AZURE_OPENAI_API_KEY",
    "baidubce.com": "QIANFAN_API_KEY",
    "bigmodel.cn": "ZHIPUAI_API_KEY",
    "cerebras.ai": "CEREBRAS_API_KEY",
    "cohere.com": "COHERE_API_KEY",
    "deepinfra.com": "DEEPINFRA_API_KEY",
    "deepseek.com": "DEEPSEEK_API_KEY",
    "fireworks.ai": "FIREWORKS_API_KEY",
    "googleapis.com": "GEMINI_API_KEY",
    "groq.com": "GROQ_API_KEY",
    "huggingface.co": "HF_TOKEN",
    "minimax.io": "MINIMAX_API_KEY",
    "minimaxi.com": "MINIMAX_API_KEY",
    "mistral.ai": "MISTRAL_API_KEY",
    "moonshot.ai": "MOONSHOT_API_KEY",
    "moonshot.cn": "MOONSHOT_API_KEY",
    "nvidia.com": "NVIDIA_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "perplexity.ai": "PERPLEXITY_API_KEY",
    "siliconflow.cn": "SILICONFLOW_API_KEY",
    "siliconflow.com": "SILICONFLOW_API_KEY",
    "together.ai": "TOGETHER_API_KEY",
    "together.xyz": "TOGETHER_API_KEY",
    "volces.com": "ARK_API_KEY",
    "x.ai": "XAI_API_KEY",
    "z.ai": "ZAI_API_KEY",
}
"""Hosts of providers, and the environment variable of the key that belongs there."""
_OWN = re.compile(r"(?P<name>.+?)@(?P<url>https?://[^#]*)(?:#(?P<variable>\w+))?", re.S)


def split_address(name: str) -> tuple[str, str | None, str | None]:
    """`provider:model@URL#VARIABLE` in name, address and the variable of its key.

    >>> split_address("openai:m@http://gpu:8000/v1#GPU_KEY")
    ('openai:m', 'http://gpu:8000/v1', 'GPU_KEY')
    >>> split_address("openai:@cf/meta/llama")
    ('openai:@cf/meta/llama', None, None)
    """
    found = _OWN.fullmatch(name.strip())
    return (found["name"], found["url"], found["variable"]) if found else (name, None, None)


_TABLE = ("name", "url", "key")


def model_names(given: Any, path: Pathish | None = None) -> Any:
    """Models of a settings file in the form of `--llm`; what is no list of models stays as it is.

    A model is a text, or a table of its `name`, the `url` where it is served, and the environment
    variable of its `key`.

    >>> model_names([{"name": "openai:m", "url": "http://gpu:8000/v1", "key": "GPU_KEY"}])
    ['openai:m@http://gpu:8000/v1#GPU_KEY']
    >>> model_names("offline")
    ['offline']

    Raises:
        UserError: a table is none of a model's; what stands under `key` is not shown.
    """
    models = [given] if isinstance(given, (str, dict)) else given
    if not isinstance(models, list):
        return given
    return [_named(one, i, path) if isinstance(one, dict) else one for i, one in enumerate(models)]


def _named(table: dict[str, Any], at: int, path: Pathish | None) -> str:
    def wrong(found: str, expected: str) -> UserError:
        return UserError(f"llm.{at}: {found}", expected=expected, path=path)

    if unknown := [name for name in table if name not in _TABLE]:
        raise wrong(f"unknown key {unknown[0]}", "name, url and key")
    name, url, key = (table.get(part) for part in _TABLE)
    if not isinstance(name, str) or not name.strip():
        raise wrong("no name", 'name = "provider:model"')
    if url is None and key is None:
        return name
    if not isinstance(url, str) or split_address(name)[1] is not None:
        raise wrong(
            f"{clean_name(name)} without an address of its own" if url is None else "two addresses",
            'url = "https://HOST/v1" beside key',
        )
    try:
        place = check_url(url)
    except UserError as error:
        raise wrong(error.found, error.expected) from None
    if "#" in place:
        raise wrong("a url with #", "the variable of the key under key")
    if key is None:
        return f"{name.strip()}@{place}"
    if not isinstance(key, str) or not re.fullmatch(r"[A-Z_][A-Z0-9_]*", key):
        raise wrong(
            "a key that is no name of an environment variable",
            'the name, as in key = "GPU_KEY"; the key itself stands in the environment alone',
        )
    return f"{name.strip()}@{place}#{key}"


def clean_name(name: str) -> str:
    """A model's name as it may be shown and kept: without what may be secret in its address.

    >>> clean_name("openai:m@http://me:secret@gpu:8000/v1?key=1")
    'openai:m@http://gpu:8000/v1'
    """
    model, url, _ = split_address(name)
    return f"{model}@{clean_url(url)}" if url else name


def clean_url(url: str) -> str:
    """An address without what may hold a secret: user, password, query.

    >>> clean_url("https://me:secret@api.example.com/v1/?key=1")
    'https://api.example.com/v1'
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return "(no address)"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def check_url(url: str) -> str:
    """An address without the spaces and line breaks around it.

    Raises:
        UserError: it is not http or https with a host, or has a space or a line break in it.
    """
    bare = url.strip()
    try:
        parts = urlsplit(bare)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[\s\x00-\x1f\x7f]", bare):
        shown = bare.rpartition("@")[2].partition("?")[0]
        mend = "" if "://" in bare else f"write http://{shown}" + ("" if "/" in shown else "/v1")
        raise UserError(
            f"base URL {shown!r}",
            expected="an address such as http://localhost:8000/v1",
            mend=mend,
        )
    return bare


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for an address; None where it goes there directly.

    HTTPS_PROXY or HTTP_PROXY by its scheme, else ALL_PROXY, unless NO_PROXY has the host.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    known = getproxies()
    return known.get(parts.scheme) or known.get("all") or None


def key_variable(url: str, usual: str, *, own: bool) -> str:
    """Environment variable of the key for an address; empty where no key may go there.

    A provider's key goes to its own hosts only, or to the host that stands in OPENAI_BASE_URL
    beside it.

    Args:
        usual: variable of the protocol.
        own: the address was given to one model alone (`@URL`), not with the usual key in mind.
    """
    host = urlsplit(url).hostname or ""
    declared = urlsplit(os.environ.get(OPENAI_URL, "").strip()).hostname
    together = usual == OPENAI_KEY and host == declared
    for known, variable in _HOSTS.items():
        if host == known or host.endswith("." + known):
            return usual if together and not os.environ.get(variable) else variable
    return usual if together or not own else ""


Address = Annotated[str, PlainSerializer(clean_url, when_used="json")]
"""A base URL among settings; what is written of it holds no secret."""
ModelName = Annotated[str, PlainSerializer(clean_name, when_used="json")]
"""A model's name among settings, with its address or not."""
