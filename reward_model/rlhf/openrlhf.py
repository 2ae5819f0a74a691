"""The reward as OpenRLHF loads it from a file: `--reward.remote_url .../rlhf/openrlhf.py`.

`REWARD_MODEL` names a folder or server and `REWARD_MODEL_CHAT_TEMPLATE` the policy's template; the
HTTP route of `reward-model serve` does the same without this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reward_model.records import UserError
from reward_model.records.chat.templates import ChatTemplate, split_query
from reward_model.records.texts import read_each
from reward_model.rlhf.environment import CHAT_TEMPLATE, NO_OPINION, from_environment
from reward_model.rlhf.terms import familiar, numbers
from reward_model.rlhf.wire import is_fallback

if TYPE_CHECKING:
    from torch import Tensor


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]
) -> dict[str, Any]:
    """Rewards of responses, and each dimension's level and uncertainty for the logs.

    OpenRLHF calls it from many threads with one text each; while the model is busy what comes in is
    joined into its next batch.

    Args:
        queries: prompt + response, with the policy's chat tokens in them.
        prompts: the prompts, as they were given to the policy.
        labels: not used.

    Raises:
        UserError: a query that does not fit the declared template, or needs one; or a response the
            model has no opinion on, where no reward was declared for such.
    """
    import torch

    def column(values: Sequence[float]) -> Tensor:
        # A trainer may have set another dtype or device for what it makes itself.
        return torch.tensor(values, dtype=torch.float32, device="cpu")

    settings = from_environment()
    texts = read_each(prompts, queries, lambda p, q: _split(q, p, settings.template))
    scores = settings.source.scores(
        [asked for asked, _ in texts],
        [said for _, said in texts],
        weights=settings.weights,
        risk=settings.risk,
    )
    scores = familiar(scores, settings.abstain)
    rewards = numbers(scores, settings.no_opinion, trainer="OpenRLHF", declare=NO_OPINION)
    logs: dict[str, Tensor] = {}
    for name in settings.source.names(scores, alike=True):
        logs[name] = column([s.levels.get(name, math.nan) for s in scores])
        logs[f"{name}_sd"] = column([s.uncertainty.get(name, math.nan) for s in scores])
    if any(score.familiarity is not None for score in scores):
        known = [math.nan if s.familiarity is None else s.familiarity for s in scores]
        logs["familiarity"] = column(known)
    logs["prompt_truncated"] = column([float(s.prompt_truncated) for s in scores])
    logs["response_truncated"] = column([float(s.response_truncated) for s in scores])
    logs["fallback"] = column([float(is_fallback(s)) for s in scores])
    total = column(rewards)
    return {"rewards": total, "scores": total, "extra_logs": logs}


def _split(query: str, prompt: str, template: ChatTemplate | None) -> tuple[Any, str]:
    for what, text in (("query", query), ("prompt", prompt)):
        if not isinstance(text, str):
            raise UserError(f"{type(text).__name__} as a {what}", expected="a string")
    try:
        return split_query(query, prompt, template)
    except UserError as error:
        if template is not None:
            raise
        mend = f"declare the policy's template: {CHAT_TEMPLATE}=chatml"
        raise UserError(error.found, expected=error.expected, mend=mend) from None
