"""The ledger finds every call again, survives torn lines and keeps other processes out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.llm import Reply, Token, Usage
from reward_model.llm.index import OffsetIndex
from reward_model.llm.ledger import Ledger
from reward_model.records import UserError

ABOUT = {"model": "openai:m", "base_url": "http://x", "sample": 0, "at": "2026-11-21"}
REPLY = Reply(
    text='营收 12.3亿 "quoted"\n',
    model="m-2026-01-31",
    finish_reason="length",
    usage=Usage(prompt_tokens=5, completion_tokens=7, reasoning_tokens=2),
    latency_s=1.25,
    tokens=(Token(text="3", logprob=-0.5, top=(("3", -0.5), ("4", -1.0))),),
)


def test_a_reply_comes_back_whole_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    ledger = Ledger(path)
    ledger.add("k1", REPLY, 0.25, ABOUT)
    ledger.add("k2", Reply(text="x" * 200_000, model="m"), None, ABOUT)
    ledger.refuse("k3", "content refused (content_filter)", ABOUT)
    ledger.lose("k4", "no answer in 30 s", 0.125, ABOUT)
    ledger.close()
    again = Ledger(path)
    for one in (ledger, again):
        assert one.cost_usd == 0.375
        assert len(one) == 3
    first, second, third = again.get("k1"), again.get("k2"), again.get("k3")
    assert first is not None
    assert first.reply == REPLY
    assert second is not None
    assert second.reply is not None
    assert len(second.reply.text) == 200_000
    assert third is not None
    assert third.reply is None
    assert "content_filter" in third.refused
    assert again.get("k4") is None
    again.close()
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert rows[0]["usage"]["reasoning_tokens"] == 2
    assert rows[0]["returned"] == "m-2026-01-31"
    assert rows[0]["finish_reason"] == "length"


def test_a_torn_last_line_is_removed_and_the_call_owed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with_two = Ledger(path)
    with_two.add("k1", REPLY, None, ABOUT)
    with_two.add("k2", REPLY, None, ABOUT)
    with_two.close()
    path.write_bytes(path.read_bytes()[:-20])
    ledger = Ledger(path)
    assert ledger.get("k1") is not None
    assert ledger.get("k2") is None
    ledger.add("k2", REPLY, None, ABOUT)
    assert ledger.get("k2") is not None
    ledger.close()
    assert len(path.read_text("utf-8").splitlines()) == 2


def test_a_second_process_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    ledger = Ledger(path)
    code = (
        "import sys, pathlib\nfrom reward_model.llm.ledger import Ledger\n"
        "from reward_model.records import UserError\n"
        "try: Ledger(pathlib.Path(sys.argv[1])).close()\n"
        "except UserError as error: print(error)\n"
    )

    def other() -> str:
        command = [sys.executable, "-c", code, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "another process is writing" in other()
    ledger.close()
    assert other() == ""


@pytest.mark.parametrize("line", ["[]", '{"id": 3}', "{broken", '"text"'])
def test_a_file_that_is_no_ledger_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "calls.jsonl"
    ledger = Ledger(path)
    ledger.add("k1", REPLY, None, ABOUT)
    ledger.close()
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(UserError, match="line 2: found a line that is no call"):
        Ledger(path)
    Ledger(tmp_path / "other.jsonl").close()  # and the lock was let go


def test_lines_written_by_other_tools_are_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"text": "hello", "cost_usd": 0.5, "key": "k"}\n', "utf-8")
    ledger = Ledger(path)
    entry = ledger.get("k")
    assert entry is not None
    assert entry.reply is not None
    assert entry.reply.text == "hello"
    assert ledger.cost_usd == 0.5
    ledger.close()


@given(st.lists(st.text(max_size=6), max_size=3000, unique=True))
def test_the_index_finds_exactly_what_was_added(keys: list[str]) -> None:
    index = OffsetIndex()
    for offset, key in enumerate(keys):
        index.add(key, offset)
    assert len(index) == len(keys)
    assert all(list(index.find(key)) == [offset] for offset, key in enumerate(keys))
    assert not list(index.find("another key"))


def test_the_index_grows() -> None:
    index = OffsetIndex()
    for i in range(10_000):
        index.add(f"key {i}", i * 7)
    assert [next(index.find(f"key {i}")) for i in range(10_000)] == [i * 7 for i in range(10_000)]
