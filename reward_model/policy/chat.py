"""Talk to a policy in a terminal, with the levels of each answer beside it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from reward_model.policy.base import Policy, find_policy, open_policy
from reward_model.policy.generate import Answer, Manner, answers
from reward_model.policy.rewards import answering
from reward_model.records import Message, Text, UserError
from reward_model.records.terminal import console, plain
from reward_model.records.texts import is_broken
from reward_model.rlhf.source import RewardSource


class Talk:
    """One conversation; `/new` begins another, an empty line or the end of input ends it."""

    def __init__(self, policy: Policy, manner: Manner, reward: RewardSource | None) -> None:
        self._policy, self._manner, self._reward = policy, manner, reward
        self.turns: list[Message] = []

    def say(self, text: str) -> Answer:
        """The policy's answer.

        Raises:
            UserError: what the policy cannot read; the conversation stays as it was.
        """
        asked = (*self.turns, Message(role="user", content=text))
        ids = self._read(asked if len(asked) > 1 else text)
        manner = self._manner._replace(seed=self._manner.seed + len(asked))
        ((answer,),) = answers(self._policy, [ids], manner)
        self.turns = [*asked, Message(role="assistant", content=answer.text)]
        return answer

    def _read(self, prompt: Text) -> list[int]:
        said = prompt if isinstance(prompt, str) else prompt[-1].content
        if is_broken(said):
            raise UserError("bytes that are no UTF-8", expected="text in UTF-8")
        (ids,) = self._policy.frame.prompt_ids([prompt])
        window = getattr(self._policy.model.config, "max_position_embeddings", None)
        need = len(ids) + self._manner.max_new_tokens
        if window is not None and need > window:
            raise UserError(
                f"{need:,} tokens with the answer",
                expected=f"what fits the policy's window of {window:,}",
                mend="say less, begin anew with /new, or lower --max-new-tokens",
            )
        return ids

    def levels(self) -> str | None:
        """What the reward thinks of the last answer, in words; None without a reward.

        Raises:
            UserError: a reward server that does not answer.
        """
        if self._reward is None:
            return None
        (score,) = self._reward.scores([tuple(self.turns[:-1])], [self.turns[-1].content])
        if score.reward is None:
            return f"no opinion: {score.reason}"
        levels = "  ".join(
            f"{name} {level:.2f} ±{score.uncertainty[name]:.2f}"
            for name, level in score.levels.items()
        )
        return f"reward {score.reward:.3f}  {levels}"


def chat(
    named: str,
    *,
    reward: str | None = None,
    prompt: str | None = None,
    manner: Manner,
    device: str | None = None,
    ask: Callable[[str], str] = input,
) -> None:
    """Talk until the input ends; with `prompt`, answer that alone.

    Raises:
        UserError: no such policy or reward.
    """
    if prompt is not None and not prompt.strip():
        raise UserError("an empty --prompt", expected="something to ask")
    source = None if reward is None else answering(reward)
    talk = Talk(open_policy(find_policy(named), device=device), manner, source)
    if prompt is not None:
        _turn(talk, prompt)
        return
    console().print("an empty line ends it, /new begins anew", style="dim")
    while True:
        try:
            said = ask("> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not said:
            return
        if said == "/new":
            talk.turns.clear()
            continue
        try:
            _turn(talk, said)
        except UserError as error:
            console().print(str(error), style="red", markup=False)


def _turn(talk: Talk, said: str) -> None:
    """The answer stands there before it is scored, which may fail."""
    answer = talk.say(said)
    # A program that reads gets all of it; a terminal obeys nothing that a policy writes.
    text = plain(answer.text) if sys.stdout.isatty() else answer.text
    sys.stdout.write(text + ("" if answer.finished else " […]") + "\n")
    sys.stdout.flush()
    if (levels := talk.levels()) is not None:
        console().print(f"  {levels}", style="dim", markup=False)
