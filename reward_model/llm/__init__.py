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
from reward_model.llm.caller import Answer, Caller, UnansweredError, bounded
from reward_model.llm.prompts import fence, fill, prompt_file, sections
from reward_model.llm.providers import open_llm

__all__ = [
    "LLM",
    "Answer",
    "Caller",
    "ChatMessage",
    "FatalError",
    "LLMError",
    "RefusedError",
    "Reply",
    "Request",
    "RetryableError",
    "Token",
    "UnansweredError",
    "Usage",
    "bounded",
    "fence",
    "fill",
    "open_llm",
    "prompt_file",
    "sections",
    "split_model",
]
