"""Texts encoded together are what each is alone, and cost few calls of the tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_models import byte_tokenizer, encoder_tokenizer

from reward_model.data.tokens.inputs import AT_ONCE, InputBuilder, plain_ids
from reward_model.records import Message

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
)
TALK = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Why?"),
    Message(role="assistant", content="Prices. [SEP]"),
    Message(role="user", content="毛利率为什么上升？"),
)
PROMPTS = ("", "Assess.", "评估这份报告。", TALK, "Read this: " + "growth " * 300, " \n")
RESPONSES = ("ok", "收入增长10.5%，毛利率上升。", "Up. " * 20, "long " * 1000, "[SEP] <eos> é🙂")
PAIRS = [(p, r) for p in PROMPTS for r in RESPONSES]


class Counting:
    """A tokenizer that counts how often it is called."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self.calls = tokenizer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return self._tokenizer(*arguments, **options)


def tokenizer(how: str) -> Any:
    if how == "pair":
        return encoder_tokenizer()
    made = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    made.chat_template = TEMPLATE if how == "chat" else None
    return made


@pytest.mark.parametrize("how", ["pair", "chat", "plain"])
@pytest.mark.parametrize(
    "settings", [{}, {"max_prompt_length": 9}, {"max_prompt_length": 0, "evidence": "checks"}]
)
def test_together_as_alone(how: str, settings: dict[str, Any]) -> None:
    builder = InputBuilder(tokenizer(how), 160, **settings)
    together = builder.build([p for p, _ in PAIRS], [r for _, r in PAIRS])
    assert together == [builder.one(p, r) for p, r in PAIRS]
    assert any(one.response_cut for one in together)
    found = ["revenue: right"] * len(PAIRS)
    known = builder.build([p for p, _ in PAIRS], [r for _, r in PAIRS], found)
    assert known == [builder.one(p, r, "revenue: right") for p, r in PAIRS]


@pytest.mark.parametrize("how", ["pair", "chat", "plain"])
def test_many_short_texts_are_one_call_of_the_tokenizer(how: str) -> None:
    counting = Counting(tokenizer(how))
    builder = InputBuilder(counting, 160)
    builder.one(TALK, "ok")  # whose template is known from now on
    before = counting.calls
    builder.build([("Why?", TALK)[i % 2] for i in range(200)], [f"Up {i}." for i in range(200)])
    assert counting.calls - before == 1


def test_texts_of_any_size_are_encoded_in_parts() -> None:
    counting = Counting(tokenizer("plain"))
    builder = InputBuilder(counting, 4096)
    before = counting.calls
    long = [f"{i} " + "x " * 9000 for i in range(2 * AT_ONCE // 18000)]
    encoded = builder.build([""] * len(long), long)
    assert 2 <= counting.calls - before <= 3
    assert encoded[-1] == builder.one("", long[-1])


@pytest.mark.parametrize("how", ["pair", "chat", "plain"])
def test_the_response_is_found_in_what_is_read(how: str) -> None:
    builder = InputBuilder(tokenizer(how), 200)
    answer = "Costs fell, so margins rose by 2.5%."
    for prompt in ("", "What fell?", "word " * 300):
        encoded = builder.one(prompt, answer)
        assert builder.response_ids(encoded) == plain_ids(builder.tokenizer, answer)
    cut = builder.one("", "0123456789" * 40)
    assert cut.response_cut
    assert len(builder.response_ids(cut)) == cut.answer_tokens
    assert set(builder.response_ids(cut)) == set(plain_ids(builder.tokenizer, "0123456789"))
