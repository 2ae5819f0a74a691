"""From `provider:model` to a model; each provider is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from reward_model.llm.addresses import split_address
from reward_model.llm.base import LLM, split_model
from reward_model.llm.extras import body_of, has_secret
from reward_model.llm.options import ModelOptions
from reward_model.records import UserError


def open_llms(
    names: Sequence[str], *, base_url: str | None = None, options: ModelOptions
) -> tuple[LLM, ...]:
    """The models of a run, with the headers that all of them are sent.

    Raises:
        UserError: as `open_llm`; or a secret would go to several hosts.
    """
    body_of(options.body)  # its variables are there
    given: Any = {"base_url": base_url, "header": options.header, "body": options.body}
    llms = tuple(open_llm(name, **given) for name in names)
    hosts = sorted({urlsplit(llm.base_url).netloc for llm in llms if llm.base_url})
    if len(hosts) > 1 and has_secret(options.header, options.body):
        raise UserError(
            f"a secret in headers or body for models at {', '.join(hosts)}",
            expected="models of one host: what one may know is not for another",
            mend="name the key of each model as MODEL@URL#VARIABLE",
        )
    return llms


def open_llm(
    name: str,
    *,
    base_url: str | None = None,
    header: Sequence[str] = (),
    body: Mapping[str, Any] | None = None,
) -> LLM:
    """Open a model by its name, `provider:model`, `provider:model@URL` where it has an address of
    its own, or `provider:model@URL#VARIABLE` with the environment variable of its key. Keys come
    from the environment only, and a provider's key goes to that provider's hosts only.

    Args:
        base_url: address of an OpenAI-compatible server; None takes the SDK's own default or
            environment variable.
        header: lines sent with every call, `Name: value`, where there is a network.
        body: further fields of the calls: what their variables stand for is kept out of messages.

    Raises:
        UserError: unknown provider, or its key is not in the environment.
    """
    name, own, variable = split_address(name)
    provider, model = split_model(name)
    if provider == "offline":
        from reward_model.llm.offline import OfflineLLM

        return OfflineLLM()
    if provider == "scripted":
        from pathlib import Path

        from reward_model.llm.scripted import ScriptedLLM

        return ScriptedLLM.load(Path(model))
    if provider == "dashscope":
        from reward_model.llm.dashscope import DashScopeLLM

        return DashScopeLLM(
            model,
            base_url=own or base_url,
            own=own is not None,
            key_variable=variable,
            header=header,
            body=body,
        )
    from reward_model.llm.openai import OpenAILLM

    return OpenAILLM(
        model,
        base_url=own or base_url,
        own=own is not None,
        key_variable=variable,
        header=header,
        body=body,
    )
