"""From `provider:model` to a model; each provider is imported only when it is asked for."""

from __future__ import annotations

from reward_model.llm.addresses import split_address
from reward_model.llm.base import LLM, split_model


def open_llm(name: str, *, base_url: str | None = None) -> LLM:
    """Open a model by its name, `provider:model`, `provider:model@URL` where it has an address of
    its own, or `provider:model@URL#VARIABLE` with the environment variable of its key. Keys come
    from the environment only, and a provider's key goes to that provider's hosts only.

    Args:
        base_url: address of an OpenAI-compatible server; None takes the SDK's own default or
            environment variable.

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
            model, base_url=own or base_url, own=own is not None, key_variable=variable
        )
    from reward_model.llm.openai import OpenAILLM

    return OpenAILLM(model, base_url=own or base_url, own=own is not None, key_variable=variable)
