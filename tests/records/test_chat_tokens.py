"""A policy's text is taken apart as declared, or refused; nothing of the response is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.records import Message, UserError
from reward_model.records.chat.templates import (
    TEMPLATES,
    ChatTemplate,
    load_template,
    plain_response,
    split_query,
    without_thought,
)

CHATML, LLAMA, QWEN = (TEMPLATES[name] for name in ("chatml", "llama3", "qwen"))
ASKED = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nMargins?<|im_end|>\n"
OPEN = "<|im_start|>assistant\n"
SPOKEN = (Message(role="system", content="Be brief."), Message(role="user", content="Margins?"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda text: not any(mark in text for mark in "<>[]")
)


@pytest.mark.parametrize("end", ["<|im_end|>", "<|im_end|>\n", "<|endoftext|>", ""])
@pytest.mark.parametrize("prompt", [ASKED + OPEN, ASKED, "Margins?", None])
def test_turns_are_told_apart(prompt: str | None, end: str) -> None:
    assert split_query(ASKED + OPEN + "Up.\n\nBy 2." + end, prompt, CHATML) == (
        SPOKEN,
        "Up.\n\nBy 2.",
    )


def test_llama_and_its_start() -> None:
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    prompt = head.format("user") + "毛利率?<|eot_id|>" + head.format("assistant")
    query = "<|begin_of_text|>" + prompt + "上升。<|eot_id|>"
    for given_prompt in (prompt, "<|begin_of_text|>" + prompt, None):
        assert split_query(query, given_prompt, LLAMA) == ("毛利率?", "上升。")


def test_a_thought_is_not_judged() -> None:
    said = ASKED + OPEN + "<think>\nlet me see\n</think>\n\nUp.<|im_end|>"
    assert split_query(said, ASKED + OPEN, QWEN)[1] == "Up."
    assert split_query(said, ASKED + OPEN + "<think>\n", QWEN)[1] == "Up."
    cut = "<think>\nlet me"  # stays a thought, which whoever scores it knows
    assert split_query(ASKED + OPEN + cut, ASKED + OPEN, QWEN)[1] == cut
    assert split_query(said, ASKED + OPEN, CHATML)[1].startswith("<think>")
    # One that the chat template opened, and an answer that only speaks of the marks.
    assert without_thought("let me see</think>\n\nUp.", QWEN.thinking) == "Up."
    quoted = "A tag <think>a</think> is no answer."
    assert without_thought(quoted, QWEN.thinking) == quoted
    plain = ChatTemplate(thinking=QWEN.thinking)
    assert split_query("Margins? <think>hm</think>Up.", "Margins?", plain)[1] == "Up."
    assert plain_response("<think>hm</think>Up.", plain) == "Up."


@pytest.mark.parametrize(
    ("query", "prompt", "words"),
    [
        (ASKED + OPEN + "Bad.<|im_end|>\n" + OPEN + "Good.", ASKED + OPEN, "'<|im_start|>"),
        (ASKED + OPEN + "Bad.<|im_end|>\n" + OPEN + "Good.", None, "two turns of the assistant"),
        (ASKED + OPEN + "Bad.<|im_end|>\n" + OPEN + "Good.", "Margins?", "two turns of the"),
        (ASKED + OPEN + "Up.", "Costs?", "does not begin with its prompt"),
        (ASKED + "Up.", None, "without a turn of the assistant"),
        ("noise " + ASKED + OPEN + "Up.", None, "text outside of any turn"),
        ("<|im_start|>user\nHi" + OPEN + "Up.", None, "a turn of the user without an end"),
        (ASKED + OPEN + "Up. [INST] more", ASKED + OPEN, r"'\[INST\]'"),
    ],
)
def test_what_does_not_fit_is_refused(query: str, prompt: str | None, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("|", r"\|")):
        split_query(query, prompt, CHATML)


@pytest.mark.parametrize(
    "token",
    ["<|im_end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "[INST]", "<end_of_turn>", "<eos>"],
)
def test_tokens_of_no_declared_template_are_refused(token: str) -> None:
    with pytest.raises(UserError, match="--chat-template"):
        split_query(f"Margins? Up.{token}", "Margins?", None)
    assert split_query(f"Margins? Up.{token}", "Margins?", TEMPLATES["none"])[1] == f" Up.{token}"


def test_plain_text_is_split_by_its_prompt() -> None:
    html = "Margins? Up <s>2</s> <b>3</b> points, A < B | C > D."
    assert split_query(html, "Margins?", None) == ("Margins?", html[8:])
    for prompt in (None, "", "Costs?"):
        with pytest.raises(UserError, match="prompt"):
            split_query(html, prompt, None)
    with pytest.raises(UserError, match="special token"):
        split_query("Margins? Up.</s>", "Margins?", None)


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "gemma.toml"
    file.write_text(
        'start = ["<bos>"]\n[turns.user]\nopen = "<start_of_turn>user\\n"\n'
        'close = "<end_of_turn>"\n[turns.assistant]\nopen = "<start_of_turn>model\\n"\n'
        'close = "<end_of_turn>"\n'
    )
    text = "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nYes<end_of_turn>\n"
    assert split_query(text, None, load_template(str(file))) == ("Hi", "Yes")
    base = tmp_path / "base.toml"
    base.write_text('end = ["</s>"]\n')
    assert split_query("Hi Yes</s>", "Hi", load_template(str(base))) == ("Hi", " Yes")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("start = 1", "start"),
        ("stop = ['x']", "stop"),
        ("[turns.user]\nopen = 'a'\nclose = 'b'", "no turn of the assistant"),
        ("[turns.assistant]\nopen = 'a'", "turns.assistant.close"),
        ("[", "broken TOML"),
    ],
)
def test_a_wrong_template_is_told(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(UserError, match=words):
        load_template(str(file))
    file.write_text("# nothing yet")
    with pytest.raises(UserError, match="a chat template without any mark"):
        load_template(str(file))
    with pytest.raises(UserError, match="chatml, qwen, llama3, none or a TOML file"):
        load_template("vicuna")


@given(TEXTS.filter(str.strip), TEXTS)
def test_both_texts_come_back_as_they_were(asked: str, said: str) -> None:
    prompt = f"<|im_start|>user\n{asked}<|im_end|>\n{OPEN}"
    assert split_query(prompt + said + "<|im_end|>", prompt, CHATML) == (asked, said)
    assert split_query(prompt + said + "<|im_end|>", None, CHATML) == (asked, said)
    assert split_query(asked + said, asked, None) == (asked, said)
