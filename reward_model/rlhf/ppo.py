"""The reward as TRL's PPO wants it (extra `ppo`, trl < 1.13): a module over the policy's tokens.

`PPOTrainer(reward_model=PPOReward("outputs/multidim/best", tokenizer, prompts=...), ...)`; any
backbone and tokenizer, as the policy's tokens are decoded and the text is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from reward_model.records import Text, UserError
from reward_model.records.chat.templates import ChatTemplate, load_template, split_query
from reward_model.rlhf.source import Model, RewardSource, open_source
from reward_model.rlhf.terms import familiar, numbers
from reward_model.score.terms import checked_abstain, checked_reward, checked_risk


class PPOReward(nn.Module):
    """Decodes, scores, and hands the reward back where the trainer looks for it.

    The trainer reads the hidden state at the last token and asks `score` for its reward; here that
    state is the reward itself, the same at every position.

    Args:
        model: folder of a trained model, address of `reward-model serve`, or a scorer.
        tokenizer: the policy's.
        prompts: token ids of the training (and evaluation) prompts, as in the data set: they say
            where a response begins. A row is read as the longest prompt that it begins with: where
            one prompt is the beginning of another, a response to the short one that goes on as the
            long one does is cut too late; a chat template leaves no such doubt.
        chat_template: template of the policy's chat tokens, by name or from a TOML file; see
            `reward_model.records.chat`. At least one of the two has to be given.
        weights: dimension -> share in the reward instead of the rubric's.
        risk: lambda of ``mean - lambda * sd`` instead of the model's own 0.
        no_opinion: reward of a response that the model has no opinion on, such as an empty one; PPO
            has no other way to leave one out, so without it that is an error.
        centered: see `reward_model.rlhf.trl.MultiDimReward`.
        device: where a model folder runs; the trainer's own device if not given.
        abstain: no opinion on responses whose familiarity is below it, such as 0.01.

    Raises:
        UserError: no such model or template, or nothing that says where responses begin.
    """

    base_model_prefix = "backbone"

    def __init__(
        self,
        model: Model,
        tokenizer: Any,
        *,
        prompts: Iterable[Sequence[int]] | None = None,
        chat_template: str | None = None,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
        no_opinion: float | None = None,
        centered: bool = False,
        device: str | None = None,
        abstain: float | None = None,
    ) -> None:
        super().__init__()
        if prompts is None and chat_template is None:
            raise UserError(
                "neither prompts nor a chat template",
                expected="what says where a response begins",
                mend='pass prompts=dataset["input_ids"], or chat_template="chatml"',
            )
        template = load_template(chat_template)
        known = None if prompts is None else _Prompts(prompts, tokenizer.pad_token_id)
        self.backbone = _Scored(
            open_source(model, device=device, centered=centered, weights=weights, risk=risk),
            _Split(tokenizer, known, template),
            None if weights is None else dict(weights),
            checked_risk(risk),
            checked_reward(no_opinion, "no_opinion"),
            checked_abstain(abstain),
        )
        self.score = nn.Identity()


class _Scored(nn.Module):
    """What stands in the place of a backbone: tokens in, rewards as hidden states out."""

    def __init__(
        self,
        source: RewardSource,
        split: _Split,
        weights: dict[str, float] | None,
        risk: float | None,
        no_opinion: float | None,
        abstain: float | None,
    ) -> None:
        super().__init__()
        self._source, self._split = source, split
        self._weights, self._risk = weights, risk
        self._no_opinion, self._abstain = no_opinion, abstain

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> SimpleNamespace:
        """Hidden states ``(B, T, 1)`` that are the reward of each row at every position."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if mask.shape != input_ids.shape:
            raise UserError(
                f"a mask of shape {tuple(mask.shape)} for tokens of shape {tuple(input_ids.shape)}",
                expected="the same shape",
            )
        rows = [ids[kept.bool()].tolist() for ids, kept in zip(input_ids, mask, strict=True)]
        texts = [self._split(row) for row in rows]
        scores = self._source.scores(
            [prompt for prompt, _ in texts],
            [response for _, response in texts],
            weights=self._weights,
            risk=self._risk,
        )
        scores = familiar(scores, self._abstain)
        rewards = numbers(scores, self._no_opinion, trainer="PPO", declare="no_opinion")
        state = torch.tensor(rewards, dtype=torch.float32, device=input_ids.device)
        hidden = state[:, None, None].expand(*input_ids.shape, 1)
        # The first is what TRL 1.12 reads, the second what its helpers read today.
        return SimpleNamespace(hidden_states=(hidden,), last_hidden_state=hidden)


class _Prompts:
    """Known prompts, to be found again at the beginning of a row."""

    def __init__(self, prompts: Iterable[Sequence[int]], pad: int | None) -> None:
        rows: list[Any] = [getattr(prompt, "tolist", lambda p=prompt: p)() for prompt in prompts]
        self._known = {tuple(i for i in row if i != pad) for row in rows}
        self._lengths = sorted({len(prompt) for prompt in self._known}, reverse=True)

    def length(self, row: Sequence[int]) -> int:
        """Length of the longest known prompt that a row begins with."""
        for length in self._lengths:
            if tuple(row[:length]) in self._known:
                return length
        raise UserError(
            "tokens that begin with none of the known prompts",
            expected='the data set\'s own token ids: prompts=dataset["input_ids"]',
            mend="give the evaluation prompts as well, and all of them untruncated",
        )


class _Split:
    """Tokens of prompt and response in one row -> their texts."""

    def __init__(
        self, tokenizer: Any, prompts: _Prompts | None, template: ChatTemplate | None
    ) -> None:
        self._tokenizer, self._prompts, self._template = tokenizer, prompts, template

    def __call__(self, row: list[int]) -> tuple[Text, str]:
        if self._prompts is None:
            return split_query(self._text(row), None, self._template)
        length = self._prompts.length(row)
        prompt = self._text(row[:length])
        if self._template is None:
            # Where the response begins is known, and the policy's special tokens in it say
            # nothing; a prompt with any but the first is a chat, whose template is to be declared.
            bos = getattr(self._tokenizer, "bos_token", None)
            asked = prompt.removeprefix(bos) if bos else prompt
            said = self._tokenizer.decode(row[length:], skip_special_tokens=True)
            return split_query(asked, asked, None)[0], said
        asked_words, _ = split_query(prompt, prompt, self._template)  # does the template fit?
        try:
            return split_query(prompt + self._text(row[length:]), prompt, self._template)
        except UserError:
            return asked_words, ""  # turns written by the policy: no answer to judge

    def _text(self, ids: Sequence[int]) -> str:
        if (strange := min(ids, default=0)) < 0:
            raise UserError(
                f"token id {strange} among the tokens of a row", expected="ids from 0 up"
            )
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text
