"""Addresses and keys: each model of a panel has its own, no key goes to another provider's host,
nothing secret in an address is written down; log-probabilities and half characters."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from commands import run
from llm_server import Fault, LLMServer
from socks_proxy import socks_proxy

from reward_model.llm import ChatMessage, Reply, Request, RetryableError, open_llm
from reward_model.llm.addresses import key_variable
from reward_model.llm.prompts import neutralised
from reward_model.records import UserError

LEVELS = '{"reasoning": {"%s": "so"}, "levels": {"%s": 2}}'
PAIR = {"id": "a", "prompt": "问", "chosen": "营业收入增长，利润上升。", "rejected": "挺好。"}


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DASHSCOPE_API_KEY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def judged(messages: list[dict[str, Any]]) -> str:
    from reward_model.llm import sections

    name = sections(messages[-1]["content"]).get("dimensions", "").split(":")[0]
    return LEVELS % (name, name)


def test_each_judge_of_a_panel_has_its_own_address_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("FIRST_KEY", "one")
    monkeypatch.setenv("SECOND_KEY", "two")
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    pairs.write_text(json.dumps(PAIR) + "\n")
    with (
        LLMServer(answer=judged, key="one") as first,
        LLMServer(answer=judged, key="two") as second,
        LLMServer(answer=judged, key="none") as third,
    ):
        done = run(
            "judge", "score", pairs, "--out", out,
            "--llm", f"openai:m@{first.url}#FIRST_KEY",
            "--llm", f"openai:m@{second.url}#SECOND_KEY",
            "--llm", f"openai:m@{third.url}",  # the key of OpenAI stays at home
        )  # fmt: skip
        assert done.code == 0, done.stderr
        assert [s.paid for s in (first, second, third)] == [6, 6, 6]
    row = json.loads(out.read_text("utf-8"))
    assert len(row["scores"]["judge"]["levels"]) == 3


def test_a_panel_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_KEY", "one")
    pairs, out, config = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl", tmp_path / "judge.toml"
    pairs.write_text(json.dumps(PAIR) + "\n")
    with (
        LLMServer(answer=judged, key="one") as first,
        LLMServer(answer=judged, key="none") as second,
    ):
        config.write_text(
            f'samples = 1\n[[llm]]\nname = "openai:m"\nurl = "{first.url}"\nkey = "FIRST_KEY"\n'
            f'[[llm]]\nname = "openai:m"\nurl = "{second.url}"\n'
        )
        done = run("judge", "score", pairs, "--out", out, "--config", config)
        assert done.code == 0, done.stderr
        assert [s.paid for s in (first, second)] == [6, 6]
    from datagen.settings import resolve as datagen_settings

    assert datagen_settings({}, config=_only_models(config)).llm == (
        f"openai:m@{first.url}#FIRST_KEY",
        f"openai:m@{second.url}",
    )


def _only_models(config: Path) -> Path:
    config.write_text(config.read_text().replace("samples = 1\n", ""))
    return config


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('name = "openai:m"\nurl = "http://h/v1"\nkey = "sk-secret1"', "environment variable"),
        ('name = "openai:m"\nurl = "http://h/v1"\nkey = "secret1"', "environment variable"),
        ('name = "openai:m"\nkey = "GPU_KEY"', "without an address"),
        ('name = "openai:m@http://h/v1"\nurl = "http://secret1:x@h/v1"', "two addresses"),
        ('name = "openai:m"\nurl = "h:8000"', "base URL"),
        ('name = "openai:m"\nurl = "http://h/v1#GPU_KEY"', "with #"),
        ('name = "openai:m"\napi_key = "secret1"', "unknown key api_key"),
        ('url = "http://h/v1"', "no name"),
    ],
)
def test_a_wrong_table_is_told_without_what_may_be_secret(
    tmp_path: Path, table: str, words: str
) -> None:
    config = tmp_path / "judge.toml"
    config.write_text(f"[[llm]]\n{table}\n")
    done = run("judge", "score", tmp_path / "none", "--out", tmp_path / "out", "--config", config)
    assert done.code == 2
    assert words in done.stderr
    assert "judge.toml" in done.stderr
    assert "secret1" not in done.stderr


@pytest.mark.parametrize(
    ("url", "own", "variable"),
    [
        ("https://api.openai.com/v1", False, "OPENAI_API_KEY"),
        ("https://api.deepseek.com/v1", False, "DEEPSEEK_API_KEY"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", True, "DASHSCOPE_API_KEY"),
        ("https://openrouter.ai/api/v1", True, "OPENROUTER_API_KEY"),
        ("http://localhost:8000/v1", False, "OPENAI_API_KEY"),
        ("http://localhost:8000/v1", True, ""),
        ("https://notopenai.com/v1", True, ""),
    ],
)
def test_a_key_goes_to_its_own_host(url: str, own: bool, variable: str) -> None:
    assert key_variable(url, "OPENAI_API_KEY", own=own) == variable


def test_a_key_that_stands_beside_its_address_belongs_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.deepseek.com/v1\n")
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    url = "https://api.deepseek.com/v1"
    assert key_variable(url, "OPENAI_API_KEY", own=False) == "OPENAI_API_KEY"


def test_nothing_secret_of_an_address_is_written(tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    pairs.write_text(json.dumps(PAIR) + "\n")
    with LLMServer(answer=judged) as server:
        secret = server.url.replace("//", "//me:s3cret@") + "?token=t0ken"
        there = ("--llm", "openai:m", "--base-url", f" {secret}\n")
        for args in (
            ("judge", "score", pairs, "--out", out, *there),
            ("judge", "score", pairs, "--out", f"{out}2", "--llm", f"openai:m@{secret}"),
            ("judge", "redteam", pairs, "--max-reports", 1, "--json", tmp_path / "r", *there),
            ("datagen", "pairs", "--out", tmp_path / "d", "--pairs", 2, *there),
            ("datagen", "frameworks", "--out", tmp_path / "f", "--fields", "金融业", *there),
        ):
            done = run(*args)
            assert "Traceback" not in done.stderr
            assert "s3cret" not in done.stderr + done.stdout
            assert "t0ken" not in done.stderr + done.stdout
        assert server.paid > 12
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
            assert b"t0ken" not in path.read_bytes(), path


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
@pytest.mark.parametrize("url", ["http://h/v1 x", "http://h\n/v1", "localhost:8000", "http://"])
def test_what_is_no_address_is_one_line(provider: str, url: str) -> None:
    with pytest.raises(UserError, match="an address such as") as caught:
        open_llm(f"{provider}:m", base_url=url)
    if url == "localhost:8000":
        assert "write http://localhost:8000/v1" in str(caught.value)


def test_a_proxy_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense5://127.0.0.1:1080")
    with pytest.raises(UserError, match="a proxy in HTTPS_PROXY"):
        open_llm("openai:m", base_url="http://h/v1")


def test_calls_go_through_a_socks_proxy_or_say_that_they_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    with socks_proxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert answer("openai", None).text
        assert len(proxy.asked) == 1
        with pytest.raises(UserError, match="a proxy of kind socks5 in HTTPS_PROXY"):
            answer("dashscope", None)
        # Another server than the one that is called may be what is not there.
        with pytest.raises(
            RetryableError, match=r"no connection to 127\.0\.0\.1:9 through the proxy"
        ):
            answer("openai", None, url="http://127.0.0.1:9/v1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert answer("openai", None).text
        assert answer("dashscope", None).text
        assert len(proxy.asked) == 2
    monkeypatch.setenv("NO_PROXY", "")
    for provider, url in (("openai", "socks5://127.0.0.1:9"), ("openai", "http://127.0.0.1:9"),
                          ("dashscope", "http://127.0.0.1:9")):  # fmt: skip
        monkeypatch.setenv("ALL_PROXY", url)
        with pytest.raises(RetryableError, match="or at the proxy that the environment names"):
            answer(provider, None)


def answer(provider: str, body: Any, text: str = "hi", url: str | None = None) -> Reply:
    async def main(server: LLMServer) -> Reply:
        own = server.url if provider == "openai" else server.native_url
        llm = open_llm(f"{provider}:m", base_url=url or own)
        try:
            return await llm.complete(Request(messages=(ChatMessage(role="user", content=text),)))
        finally:
            await llm.close()

    fault = body and Fault("body", status=200, body=body)
    with LLMServer(script=[fault]) as server:
        return asyncio.run(main(server))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("-Infinity", -9999.0), ("-0.5", -0.5), ("NaN", None), ('"-0.1"', None), ("3.0", None),
     ("true", None), ("null", None), ("Infinity", None)],
)  # fmt: skip
def test_a_log_probability_is_a_number_or_there_is_none(value: str, expected: float | None) -> None:
    token = {"token": "3", "logprob": -0.1, "top_logprobs": [{"token": "2", "logprob": "HERE"}]}
    choice = {"message": {"content": "3"}, "logprobs": {"content": [token]}}
    body = json.dumps({"choices": [choice], "model": "m"}).replace('"HERE"', value)
    reply = answer("openai", body.encode())
    assert (reply.tokens is None) is (expected is None)
    if reply.tokens:
        assert reply.tokens[0].top == (("2", expected),)
        assert math.isfinite(reply.tokens[0].logprob)
        json.dumps(reply.model_dump(mode="json"), allow_nan=False)


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_half_a_character_is_sent_as_a_mark(provider: str) -> None:
    assert answer(provider, None, "up \ud83d").text == "reply to 4"


@pytest.mark.parametrize(
    "mark",
    ["<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "<｜User｜>", "[INST]", "<<SYS>>",
     "</s>", "<|turn>", "[SYSTEM_PROMPT]", "<|START_OF_TURN_TOKEN|>", "◁think▷", "</think>",
     "<seed:think>", "<|channel|>", "<bos>", "[TOOL_CALLS]", "<unused94>", "<eoh>"],
)  # fmt: skip
def test_no_mark_of_any_family_reaches_the_judge(mark: str) -> None:
    assert mark not in neutralised(f"rose {mark} 5%")


@pytest.mark.parametrize(
    "hidden", "\u00ad\u034f\u061c\u115f\u180e\u200b\u2066\u3164\ufe01\ufff9\U000e0041\U000e0141"
)
def test_no_hidden_character_reaches_the_judge(hidden: str) -> None:
    assert neutralised(f"ri{hidden}se") == "rise"


def test_tables_reach_the_judge_as_they_are() -> None:
    for table in ("| <5% | >5% |", "|<5%|>10%|", "| a |> 5 | <| b |", "❤️ x<y | y>z [1] [a|b]"):
        assert neutralised(table) == table
