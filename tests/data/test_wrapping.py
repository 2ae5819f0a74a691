"""Chat templates as models bring them: strict about roles, broken, or silent about a message."""

from __future__ import annotations

import pytest
from tiny_models import byte_tokenizer

from reward_model.data.tokens.wrapping import Wrapping
from reward_model.records import Message, UserError

PLAIN = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}"
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system role here') }}{% endif %}"
    "<{{ m.role[0] }}>{{ m.content }}{% endfor %}"
)
SILENT = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
TALK = (Message(role="system", content="Be brief."), Message(role="user", content="Why?"))


def wrapping(template: str) -> Wrapping:
    tokenizer = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    tokenizer.chat_template = template
    return Wrapping(tokenizer, "chat")


def texts(parts: object) -> list[str]:
    return [part for part in parts.asked if isinstance(part, str)]  # type: ignore[attr-defined]


def test_a_template_keeps_the_roles_it_knows() -> None:
    assert texts(wrapping(PLAIN).around(TALK)) == ["Be brief.", "Why?"]


@pytest.mark.parametrize("template", [STRICT, SILENT])
def test_a_role_the_template_will_not_show_becomes_part_of_the_question(template: str) -> None:
    (question,) = texts(wrapping(template).around(TALK))
    assert "Be brief." in question
    assert "Why?" in question


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('only tools') }}", "only tools"),
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
        ("hello", "shows messages"),
    ],
)
def test_a_template_that_cannot_show_one_question_is_said(template: str, words: str) -> None:
    with pytest.raises(UserError, match=f"cannot show a question and its answer .*{words}"):
        wrapping(template)


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(TypeError):
        wrapping("{{ messages[0].content + 1 }}")
