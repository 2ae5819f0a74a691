"""Language models behind one small protocol: providers, calls, ledger, prompts.

`open_llm("openai:gpt-...")`, `open_llm("dashscope:qwen-plus")` and `open_llm("offline")` give an
`LLM`; a `Caller` calls it with a ledger, retries and rate control.
"""

from reward_model.llm.base import (
    LLM,
    ChatMessage,
    FatalError,
    LLMError,
    RefusedError,
    Reply,
    Request,
    RetryableError,
    Token,
    Usage,
    split_model,
)
from reward_model.llm.bounded import bounded
from reward_model.llm.caller import Answer, Caller, UnansweredError
from reward_model.llm.capabilities import capabilities
from reward_model.llm.prices import Prices, likely_tokens
from reward_model.llm.prompts import fence, fill, prompt_file, sections
from reward_model.llm.providers import open_llm
from reward_model.llm.scripted import ScriptedLLM, Step

__all__ = [
    "LLM",
    "Answer",
    "Caller",
    "ChatMessage",
    "FatalError",
    "LLMError",
    "Prices",
    "RefusedError",
    "Reply",
    "Request",
    "RetryableError",
    "ScriptedLLM",
    "Step",
    "Token",
    "UnansweredError",
    "Usage",
    "bounded",
    "capabilities",
    "fence",
    "fill",
    "likely_tokens",
    "open_llm",
    "prompt_file",
    "sections",
    "split_model",
]
