"""`datagen revise`: drafts, critiques and revisions through real HTTP, with faults and kills."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run, spawn
from llm_server import LLMServer

from datagen.revise import make_revisions, read_drafts
from datagen.settings import RevisionSettings
from reward_model.llm import Request, ScriptedLLM, Step
from reward_model.llm.prompts import sections
from reward_model.records import Stopped, UserError, read_pairs
from reward_model.rubrics import load_rubric

CRITIQUE = (
    "- The second sentence claims that margins will rise next year, and nothing in the request "
    "supports a claim as certain as that one."
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-key-5f3a9c1e7b")


def written(path: Path, count: int = 12) -> Path:
    rows: list[dict[str, Any]] = []
    for at in range(count):
        if at % 3 == 2:
            rows.append(
                {
                    "id": at,
                    "prompt": f"第{at}家公司的毛利率会上升吗？",
                    "completion": f"毛利率明年一定会上升，第{at}家公司的情况非常好，没有任何疑问。",
                }
            )
        else:
            prompt: Any = f"Will the margin of company {at} rise?"
            if at % 3 == 1:
                prompt = [{"role": "user", "content": prompt}]
            rows.append({"prompt": prompt, "response": f"It will rise for certain, company {at}."})
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


def answers(request: Request) -> str:
    """What a model says that follows its instructions."""
    text = request.messages[-1].content
    found = sections(text)
    if found["task"] == "critique":
        return CRITIQUE
    number = re.findall(r"\d+", found["draft"])[-1]
    if "毛利率" in found["draft"]:
        return f"第{number}家公司的毛利率可能上升，但这取决于明年的成本，现在无法确定。"
    return f"It may rise; for company {number} that depends on costs, which nobody knows yet."


class Model(ScriptedLLM):
    def __init__(self) -> None:
        super().__init__(answers, name="scripted:test", base_url="here")


def settings(**more: Any) -> RevisionSettings:
    return RevisionSettings.model_validate({"llm": ["scripted:x"], **more})


def revise(drafts: Path, out: Path, llm: Any, **more: Any) -> None:
    make_revisions(drafts, settings(**more), out, llms=[llm])


def test_revisions_are_chosen_over_their_drafts(tmp_path: Path) -> None:
    drafts, out = written(tmp_path / "drafts.jsonl"), tmp_path / "pairs.jsonl"
    revise(drafts, out, Model())
    pairs = list(read_pairs(out))
    assert len(pairs) == 12
    for pair, draft in zip(
        pairs,
        read_drafts(drafts, settings(), [*load_rubric("constitution").dimensions]),
        strict=True,
    ):
        assert pair.rejected == draft.text
        assert pair.metadata.kind == "revised"
        assert pair.metadata.language == draft.language
        assert "claim as certain" not in str(pair.chosen)
    principles = {str((p.metadata.model_extra or {})["principle"]) for p in pairs}
    assert principles <= set(load_rubric("constitution").names)
    assert len(principles) > 1
    assert (pairs[2].metadata.model_extra or {})["draft_id"] == "2"


def test_a_draft_without_fault_makes_no_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fair(request: Request) -> str:
        found = sections(request.messages[-1].content)
        faultless = "company 1." in found["draft"] and found["task"] == "critique"
        return "NO FAULT." if faultless else answers(request)

    out = tmp_path / "pairs.jsonl"
    revise(written(tmp_path / "drafts.jsonl"), out, ScriptedLLM(fair, name="scripted:test"))
    assert len(list(read_pairs(out))) == 11
    assert "no fault by" in capsys.readouterr().err


def test_a_revision_that_repeats_the_critique_is_redone(tmp_path: Path) -> None:
    def leaky(request: Request) -> str:
        found = sections(request.messages[-1].content)
        if found["task"] == "revise" and request.sample == 0:
            return answers(request) + " " + CRITIQUE[2:]
        return answers(request)

    out, model = tmp_path / "pairs.jsonl", ScriptedLLM(leaky, name="scripted:test")
    revise(written(tmp_path / "drafts.jsonl", 2), out, model)
    assert all("claim as certain" not in str(pair.chosen) for pair in read_pairs(out))
    assert [request.sample for request in model.requests].count(1) == 2


def test_a_model_that_only_repeats_the_critique_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def leaky(request: Request) -> str:
        found = sections(request.messages[-1].content)
        return CRITIQUE if found["task"] == "critique" else f"Thanks. {CRITIQUE[2:]}"

    out = tmp_path / "pairs.jsonl"
    with pytest.raises(Stopped, match="0 of 2 pairs"):
        revise(written(tmp_path / "drafts.jsonl", 2), out, ScriptedLLM(leaky, name="scripted:t"))
    assert not out.exists()
    assert "critique leaked" in capsys.readouterr().err


def command(server: LLMServer, drafts: Path, out: Path) -> list[object]:
    return ["revise", drafts, "--out", out, "--llm", "openai:m", "--base-url", server.url]


def through(server: LLMServer, drafts: Path, out: Path, *more: object) -> Outcome:
    done = run("datagen", *command(server, drafts, out), *more)
    assert "Traceback" not in done.stderr
    return done


def test_a_storm_pays_for_nothing_twice(tmp_path: Path) -> None:
    drafts = written(tmp_path / "drafts.jsonl", 24)
    ideal, out = tmp_path / "ideal.jsonl", tmp_path / "pairs.jsonl"
    with LLMServer(model=Model()) as server:
        assert through(server, drafts, ideal).code == 0
        paid = server.paid
    storm = {"429": 0.1, "500": 0.1, "drop": 0.05}
    with LLMServer(model=Model(), faults=storm, port=server.port, seed=4) as server:
        done = through(server, drafts, out, "--timeout-s", 5)
        assert done.code == 0, done.stderr
        assert server.paid == paid == 48
        assert server.statuses[500]
    assert out.read_bytes() == ideal.read_bytes()


def test_killed_it_goes_on(tmp_path: Path) -> None:
    drafts = written(tmp_path / "drafts.jsonl", 30)
    ideal, out = tmp_path / "ideal.jsonl", tmp_path / "pairs.jsonl"
    with LLMServer(model=Model()) as server:
        assert through(server, drafts, ideal).code == 0
        paid, server.paid = server.paid, 0
        process = spawn("datagen", *command(server, drafts, out), "--max-concurrency", 2)
        while server.paid < 15:
            assert process.poll() is None
        process.kill()
        process.communicate()
        assert through(server, drafts, out).code == 0
        assert server.paid <= paid + 2  # what was in flight
    assert out.read_bytes() == ideal.read_bytes()


@pytest.mark.parametrize(
    ("text", "args", "words"),
    [
        (None, ("--llm", "offline"), "the embedded writer can only write and edit reports"),
        (None, (), "the embedded writer can only write and edit reports"),
        (None, ("--llm", "openai:m", "--principles", "kindness"), "helpful_honest"),
        ('{"prompt": "p", "chosen": "a", "rejected": "b"}', ("--llm", "openai:m"), "a pair"),
        ('{"response": "a"}', ("--llm", "openai:m"), "a row without prompt"),
        ('{"prompt": "p", "response": " "}', ("--llm", "openai:m"), "line 1"),
        ("not json", ("--llm", "openai:m"), "line 1"),
    ],
)
def test_wrong_input_is_named(
    tmp_path: Path, text: str | None, args: tuple[str, ...], words: str
) -> None:
    drafts = tmp_path / "drafts.jsonl"
    if text is None:
        written(drafts)
    else:
        drafts.write_text(text + "\n", "utf-8")
    done = run("datagen", "revise", drafts, "--out", tmp_path / "out.jsonl", *args)
    assert done.code == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_the_drafts_are_not_overwritten(tmp_path: Path) -> None:
    drafts = written(tmp_path / "drafts.jsonl")
    before = drafts.read_bytes()
    with pytest.raises(UserError, match="the input itself as --out"):
        revise(drafts, drafts, Model())
    assert drafts.read_bytes() == before


def test_other_drafts_are_refused_on_going_on(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    revise(written(tmp_path / "drafts.jsonl", 4), out, Model())
    with pytest.raises(UserError, match="other drafts"):
        revise(written(tmp_path / "drafts.jsonl", 5), out, Model())


def test_answers_with_faults_of_their_own_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    llm = ScriptedLLM([Step(error="refused", match=".")], name="scripted:test")
    with pytest.raises(Stopped):
        revise(written(tmp_path / "drafts.jsonl", 3), tmp_path / "pairs.jsonl", llm)
    assert "3 refused by the provider" in capsys.readouterr().err


def test_drafts_may_stand_in_a_table(tmp_path: Path) -> None:
    table, lines = tmp_path / "drafts.csv", tmp_path / "drafts.jsonl"
    table.write_text('prompt,response\n"Why, then?","It must,\nrise."\nSo?,No.\n', "utf-8")
    rows = [
        {"prompt": "Why, then?", "response": "It must,\nrise."},
        {"prompt": "So?", "response": "No."},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    principles = [*load_rubric("constitution").dimensions]
    assert read_drafts(table, settings(), principles) == read_drafts(lines, settings(), principles)
    table.write_text("prompt,response\np,\n", "utf-8")
    with pytest.raises(UserError, match="an empty response in row 1"):
        read_drafts(table, settings(), principles)
