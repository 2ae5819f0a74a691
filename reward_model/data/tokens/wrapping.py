"""What stands around prompt and response: special tokens, or the tokenizer's chat template.

Found out once from the tokenizer by encoding probes, so that any tokenizer works; used by
`reward_model.data.tokens.inputs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from jinja2 import TemplateError

from reward_model.data.tokens.cutting import head_and_tail
from reward_model.records import Text, UserError, as_text

TODAY = "2025-01-01"
"""The date that templates print which print today's, unless a model stores another: always the
same, or a text would score otherwise tomorrow."""
InputFormat = Literal["pair", "chat", "plain"]
MOST_KEPT = 256
"""Orders of roles whose template is kept as tokens."""
_MARK = "\u2042{}\u2042"
"""Stands for the content of a message while the template is rendered; no template holds it."""


@dataclass(frozen=True)
class Parts:
    """Token ids around the prompt and the response, and what goes between them."""

    before: list[int]
    between: list[int]
    after: list[int]
    first_types: int = 0
    """How many of `between` belong to the first segment."""
    asked: tuple[str | list[int], ...] = ()
    """The prompt: texts, and template tokens between the texts of several messages."""

    @property
    def overhead(self) -> int:
        """Tokens that are neither prompt nor response."""
        return len(self.before) + len(self.between) + len(self.after)

    def prompt_ids(self, encode: Callable[[str], list[int]], budget: int) -> tuple[list[int], bool]:
        """At most `budget` tokens of the prompt, head and tail, and whether any were left out."""
        ids: list[int] = []
        cut = False
        for part in self.asked:
            if isinstance(part, str):
                # Each text is held to the whole budget, which keeps its own head and tail exact.
                piece, piece_cut = head_and_tail(encode, part, budget)
                ids, cut = ids + piece, cut or piece_cut
            else:
                ids = ids + part
        if len(ids) > budget:
            end = budget // 2
            ids, cut = ids[: budget - end] + (ids[-end:] if end else []), True
        return ids, cut


class Wrapping:
    """How one tokenizer joins a prompt and a response.

    Args:
        tokenizer: the model's.
        how: the form of its inputs.
        today: what a chat template is told that asks for the date.
    """

    def __init__(self, tokenizer: Any, how: InputFormat, today: str = TODAY) -> None:
        self._tokenizer, self._how = tokenizer, how
        self._template: str | None = None
        if how == "chat" and not getattr(tokenizer, "chat_template", None):
            raise UserError(
                "a tokenizer without a chat template",
                expected="the one that the model reads its inputs with",
                mend="copy chat_template.jinja (or tokenizer_config.json) from the base model",
            )
        if how == "chat" and prints_date(tokenizer):
            self._template = dated(tokenizer.get_chat_template(), today)
        self._literals: dict[tuple[str, ...], list[list[int]]] = {}
        self._pair, self._plain = probe(tokenizer), plain(tokenizer)
        self.has_types = how == "pair" and "token_type_ids" in tokenizer.model_input_names
        self.alone = self._alone()
        self.overhead = self.alone.overhead

    def around(self, prompt: Text) -> Parts | None:
        """What surrounds this prompt and a response to it; None where there is no prompt."""
        text = as_text(prompt)
        if not text.strip():
            return None
        if self._how == "chat":
            if isinstance(prompt, str):
                return self._question(text)
            turns = [(m.role, m.content) for m in prompt if m.content]
            # Templates raise their own errors for roles or orders they do not know.
            for shown in (turns, _without_system(turns), _alternating(turns)):
                try:
                    return self._chat(shown)
                except (TemplateError, ValueError):
                    continue
            return self._question(text)
        shape = self._pair if self._how == "pair" else self._plain
        return Parts(shape.before, shape.between, shape.after, shape.first_types, (text,))

    def _alone(self) -> Parts:
        if self._how == "chat":
            empty = self._question("")
            return Parts(empty.before + empty.between, [], empty.after)
        if self._how == "plain":
            return Parts(self._plain.before, [], self._plain.after)
        ids = self._tokenizer("a")["input_ids"]
        at = _find(ids, self._tokenizer("a", add_special_tokens=False)["input_ids"])
        if at is None:
            return Parts(self._pair.before, [], self._pair.after)
        return Parts(ids[: at[0]], [], ids[at[1] :])

    def _question(self, text: str) -> Parts:
        """The least any template has to know: one question and its answer."""
        try:
            return self._chat([("user", text)])
        except (TemplateError, ValueError) as error:
            raise UserError(
                f"a chat template that cannot show a question and its answer ({error})",
                expected="one that renders a user and an assistant message, each once and whole",
                mend="mend chat_template.jinja of the base model, or remove it",
            ) from None

    def _chat(self, messages: Turns) -> Parts:
        roles = tuple(role for role, _ in messages)
        literals = self._literals.get(roles)
        if literals is None:
            literals = self._rendered(roles)
            if len(self._literals) >= MOST_KEPT:
                self._literals.clear()
            self._literals[roles] = literals
        asked: list[str | list[int]] = []
        for i, (_, content) in enumerate(messages):
            asked += [literals[i], content] if i else [content]
        return Parts(literals[0], literals[-2], literals[-1], 0, tuple(asked))

    def _rendered(self, roles: tuple[str, ...]) -> list[list[int]]:
        """What the template writes around the contents, which follows from the roles alone."""
        marked = [
            {"role": role, "content": _MARK.format(i)}
            for i, role in enumerate((*roles, "assistant"))
        ]
        rendered: str = self._tokenizer.apply_chat_template(
            marked, tokenize=False, chat_template=self._template
        )
        pieces = re.split(_MARK.format(r"(\d+)"), rendered)
        order = [int(i) for i in pieces[1::2]]
        if order != list(range(len(marked))):
            raise ValueError(f"the chat template shows messages {order} of {len(marked)}")
        return [
            self._tokenizer(p, add_special_tokens=False)["input_ids"] if p else []
            for p in pieces[0::2]
        ]


_ASKS_DATE = re.compile(r"""strftime_now\(\s*(["'])(?P<form>[^"']*)\1\s*\)""")


def prints_date(tokenizer: Any) -> bool:
    """Whether the tokenizer's chat template may print the date of the day.

    >>> from types import SimpleNamespace
    >>> prints_date(SimpleNamespace(chat_template="Today is {{ strftime_now('%d %b %Y') }}."))
    True
    """
    return "strftime_now" in str(getattr(tokenizer, "chat_template", None))


def dated(template: str, today: str) -> str:
    """A chat template that prints this date whenever it is used, for programs that cannot be told.

    >>> dated("Today is {{ strftime_now('%d %b %Y') }}.", "2025-01-01")
    "Today is {{ '01 Jan 2025' }}."

    Raises:
        UserError: it makes the format of the date itself.
    """
    day = date.fromisoformat(today)
    fixed = _ASKS_DATE.sub(lambda found: repr(day.strftime(found["form"])), template)
    if re.search(r"strftime_now\s*\(", fixed):
        raise UserError(
            "a chat template that prints the date of the day in a form it makes itself",
            expected='strftime_now("..."), whose date can be written out',
            mend="write the date into chat_template.jinja of the model",
        )
    return fixed


Turns = list[tuple[str, str]]
"""Role and content of each."""


def _without_system(turns: Turns) -> Turns:
    """What the system says, as the beginning of the user's turn that follows."""
    return _joined([("user" if role == "system" else role, said) for role, said in turns], "user")


def _alternating(turns: Turns) -> Turns:
    """User and assistant in turn, the user first and last: the most that some templates know."""
    known = [(role if role == "assistant" else "user", said) for role, said in turns]
    for end in (0, -1):  # a greeting, to which nothing was asked, and a turn that is still open
        known[end] = ("user", known[end][1])
    return _joined(known, "user", "assistant")


def _joined(turns: Turns, *roles: str) -> Turns:
    """Turns of one of these roles that follow each other, as one."""
    out: Turns = []
    for role, said in turns:
        if out and out[-1][0] == role and role in roles:
            out[-1] = (role, f"{out[-1][1]}\n\n{said}")
        else:
            out.append((role, said))
    return out


def probe(tokenizer: Any) -> Parts:
    """Special tokens before, between and after two texts, as the tokenizer places them."""
    first = tokenizer("a", add_special_tokens=False)["input_ids"]
    second = tokenizer("b", add_special_tokens=False)["input_ids"]
    encoded = tokenizer("a", "b")
    ids = encoded["input_ids"]
    a = _find(ids, first)
    b = _find(ids, second, a[1]) if a else None
    if a is None or b is None:
        return Parts([], [], [])
    types = encoded.get("token_type_ids") or [0] * len(ids)
    between = ids[a[1] : b[0]]
    return Parts(ids[: a[0]], between, ids[b[1] :], types[a[1] : b[0]].count(0))


def plain(tokenizer: Any) -> Parts:
    """What stands around two texts that nothing but an empty line tells apart."""
    single = tokenizer("a")["input_ids"]
    at = _find(single, tokenizer("a", add_special_tokens=False)["input_ids"])
    before = single[: at[0]] if at else []
    gap = tokenizer("\n\n", add_special_tokens=False)["input_ids"]
    eos = tokenizer.eos_token_id
    return Parts(before, gap, [] if eos is None else [eos])


def detect_format(tokenizer: Any) -> InputFormat:
    """`chat` if there is a chat template, `pair` if two texts get a separator, else `plain`."""
    if getattr(tokenizer, "chat_template", None):
        return "chat"
    separators = {tokenizer.sep_token_id, tokenizer.eos_token_id} - {None}
    return "pair" if separators & set(probe(tokenizer).between) else "plain"


def _find(ids: list[int], part: list[int], start: int = 0) -> tuple[int, int] | None:
    for at in range(start, len(ids) - len(part) + 1):
        if part and ids[at : at + len(part)] == part:
            return at, at + len(part)
    return None
