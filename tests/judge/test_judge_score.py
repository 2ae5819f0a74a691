"""`judge score` from the command line and with judges that misbehave."""

from __future__ import annotations

import csv
import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from commands import run, spawn
from pyarrow import parquet

from judge.scoring.merge import Draw, merge
from judge.scoring.run import score_file
from judge.settings import ScoreSettings, resolve
from reward_model.llm import RefusedError, Reply, Request, sections
from reward_model.records import Stopped, UserError, read_pairs

TABLE = (
    "单位：元\n\n| 项目 | 2020 | 2021 |\n|---|---|---|\n"
    "| 营业收入 | 100 | 120 |\n| 净利润 | 10 | 15 |\n"
)
GOOD = (
    "营业收入由2020年的100元增至2021年的120元，同比增长20%，主要因为产能利用率提高带动销量。"
    "净利润为15元，但应收账款周转放缓，若回款再推迟，现金流将承压，预计明年风险上升。"
)
BAD = "公司赚钱了，挺好的。总体情况不错。"


def _pairs(path: Path, count: int = 4) -> Path:
    rows = [
        {
            "id": f"r{i}",
            "prompt": f"公司{i}\n{TABLE}",
            "chosen": f"{GOOD}（{i}）",
            "rejected": f"{BAD}（{i}）",
            "metadata": {
                "prompt_id": f"p{i}",
                "kind": "degraded",
                "mine": {"kept": [i]},
                "gold_metadata": {"model": "offline", "temperature": 0.3},
                "defect_metadata": {"degradation_type": "shallow_depth", "severity": 1 + i % 4},
            },
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


class Judge:
    """A judge whose replies a test decides."""

    base_url = ""

    def __init__(self, reply: Callable[[Request, dict[str, str]], str], name: str = "test:judge"):
        self.name, self.reply, self.requests = name, reply, list[Request]()

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        parts = sections(request.messages[-1].content)
        return Reply(text=self.reply(request, parts), model=f"{self.name}-0901")

    async def close(self) -> None:
        pass


def _levels(level: int) -> Callable[[Request, dict[str, str]], str]:
    def reply(_: Request, parts: dict[str, str]) -> str:
        name = parts["dimensions"].split(":")[0]
        return json.dumps({"reasoning": {name: "because"}, "levels": {name: level}})

    return reply


def test_scores_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    pairs, out = _pairs(tmp_path / "pairs.jsonl"), tmp_path / "scored.jsonl"
    done = run("judge", "score", pairs, "--out", out)
    assert done.code == 0, done.stderr
    before, after = _rows(pairs), _rows(out)
    assert [{k: v for k, v in row.items() if k != "scores"} for row in after] == before
    for pair in read_pairs(out):
        assert pair.scores is not None
        assert set(pair.scores.chosen) == {"depth", "professionalism", "accuracy"}
        assert pair.scores.gap("depth") > 0  # type: ignore[operator]
        assert pair.scores.reason("rejected", "accuracy")
        judge = pair.scores.judge
        assert judge is not None
        assert judge.model == "offline"
        assert str(judge.rubric).startswith("financial_report@")
        assert judge.samples == 1
    config = json.loads((tmp_path / "scored.jsonl.config.json").read_text())
    assert config["settings"]["llm"] == ["offline"]
    assert "grading texts of the embedded writer" in done.stderr


def test_the_same_run_again_makes_no_call_and_the_same_file(tmp_path: Path) -> None:
    pairs, out = _pairs(tmp_path / "pairs.jsonl"), tmp_path / "scored.jsonl"
    assert run("judge", "score", pairs, "--out", out).code == 0
    first = out.read_bytes()
    again = run("judge", "score", pairs, "--out", out)
    assert again.code == 0
    assert "0 calls made, 24 taken" in again.stderr
    assert out.read_bytes() == first


def test_the_judge_is_blind(tmp_path: Path) -> None:
    """Ids, metadata and sides may say anything: the same texts get the same levels."""
    pairs = _pairs(tmp_path / "pairs.jsonl")
    swapped = tmp_path / "swapped.jsonl"
    with swapped.open("w", encoding="utf-8") as file:
        for i, row in enumerate(_rows(pairs)):
            row |= {"chosen": row["rejected"], "rejected": row["chosen"], "id": f"golden-{i}"}
            row["metadata"] = {"kind": "neutral", "company": "x"}
            file.write(json.dumps(row) + "\n")
    assert run("judge", "score", pairs, "--out", tmp_path / "a").code == 0
    assert run("judge", "score", swapped, "--out", tmp_path / "b").code == 0
    for a, b in zip(_rows(tmp_path / "a"), _rows(tmp_path / "b"), strict=True):
        assert a["scores"]["chosen"] == b["scores"]["rejected"]
        assert a["scores"]["rejected"] == b["scores"]["chosen"]


def test_one_response_a_call_and_one_dimension_a_call(tmp_path: Path) -> None:
    judge = Judge(_levels(3))
    pairs = _pairs(tmp_path / "pairs.jsonl", 2)
    score_file(pairs, tmp_path / "out", ScoreSettings(), judges=[judge])
    assert len(judge.requests) == 2 * 2 * 3
    for request in judge.requests:
        text = request.messages[-1].content
        assert (GOOD in text) != (BAD in text)
        assert "degrad" not in text
        assert "severity" not in text
    shown = [sections(r.messages[-1].content) for r in judge.requests]
    assert Counter(s["dimensions"].split(":")[0] for s in shown) == {
        "depth": 4,
        "professionalism": 4,
        "accuracy": 4,
    }
    # A pair's calls come in random order, not chosen first.
    assert len({GOOD in s["report"] for s in shown[:6]}) == 2


def test_all_dimensions_in_one_call(tmp_path: Path) -> None:
    names = ("depth", "professionalism", "accuracy")
    judge = Judge(lambda *_: json.dumps({"levels": dict.fromkeys(names, 2)}))
    settings = ScoreSettings(mode="all", reasoning="none")
    score_file(_pairs(tmp_path / "pairs.jsonl", 1), tmp_path / "out", settings, judges=[judge])
    assert len(judge.requests) == 2
    scores = _rows(tmp_path / "out")[0]["scores"]
    assert scores["chosen"] == dict.fromkeys(names, 2)
    assert "reasoning" not in scores
    assert scores["judge"]["returned"] == ["test:judge-0901"]


def test_samples_and_panels_keep_every_level(tmp_path: Path) -> None:
    def wavering(request: Request, parts: dict[str, str]) -> str:
        return _levels([2, 3, 3][request.sample])(request, parts)

    first, second = Judge(wavering, "test:a"), Judge(_levels(4), "test:b")
    settings = ScoreSettings(samples=3)
    pairs = _pairs(tmp_path / "pairs.jsonl", 1)
    score_file(pairs, tmp_path / "out", settings, judges=[first, second])
    scores = _rows(tmp_path / "out")[0]["scores"]
    # (8/3 + 4) / 2 = 3.33
    assert scores["chosen"]["depth"] == 3
    assert scores["judge"]["levels"]["test:a"]["chosen"]["depth"] == [2, 3, 3]
    assert scores["judge"]["levels"]["test:b"]["chosen"]["depth"] == [4, 4, 4]
    assert scores["judge"]["spread"]["chosen"]["depth"] == pytest.approx(0.745)
    assert scores["judge"]["model"] == "test:a + test:b"


def test_a_reply_that_cannot_be_read_is_asked_for_again(tmp_path: Path) -> None:
    def reply(request: Request, parts: dict[str, str]) -> str:
        return "hm" if request.sample == 0 else _levels(2)(request, parts)

    judge = Judge(reply)
    score_file(_pairs(tmp_path / "p", 1), tmp_path / "out", ScoreSettings(), judges=[judge])
    scores = _rows(tmp_path / "out")[0]["scores"]
    assert scores["rejected"] == {"depth": 2, "professionalism": 2, "accuracy": 2}
    assert "failures" not in scores["judge"]


def test_a_level_nobody_gave_is_null_with_its_cause(tmp_path: Path) -> None:
    def reply(request: Request, parts: dict[str, str]) -> str:
        if parts["dimensions"].startswith("accuracy"):
            raise RefusedError("not this")
        return _levels(7 if parts["dimensions"].startswith("depth") else 1)(request, parts)

    score_file(_pairs(tmp_path / "p", 1), tmp_path / "out", ScoreSettings(), judges=[Judge(reply)])
    scores = _rows(tmp_path / "out")[0]["scores"]
    assert scores["chosen"] == {"depth": None, "professionalism": 1, "accuracy": None}
    assert scores["judge"]["failures"]["chosen"] == {
        "depth": {"out_of_range": 1},
        "accuracy": {"refused": 1},
    }
    assert "depth" not in scores["reasoning"]["chosen"]


def test_settings_from_a_file_and_flags_over_it(tmp_path: Path) -> None:
    config = tmp_path / "judge.toml"
    config.write_text('llm = "offline"\nsamples = 3\nseed = 5\n')
    settings = resolve({"seed": 9}, config)
    assert (settings.llm, settings.samples, settings.seed) == (("offline",), 3, 9)
    config.write_text("sample = 3\ntemperature = 9\n")
    with pytest.raises(UserError) as error:
        resolve({}, config)
    assert "unknown key sample (do you mean samples?)" in str(error.value)
    assert "temperature: 9 (input should be less than or equal to 2" in str(error.value)
    assert "judge.toml" in str(error.value)


BAD_FILES = {
    "missing": (None, "no such file"),
    "empty": ("", "an empty file"),
    "broken": ('{"chosen": "a", "rejected": "b"}\n' * 6 + '{"chosen": \n', "line 7"),
    "column": ('{"chosen": "a"}\n', "no key rejected"),
    "nothing to judge": ('{"prompt": "a", "text": "b"}\n', "keys prompt, text"),
    "misspelt": ('{"promt": "a", "chosen": "a", "rejected": "b"}\n', "unknown key promt"),
    "scored answer": ('{"response": "a", "scores": {"depth": 1}}\n', "--overwrite-scores"),
    "scored": (
        '{"chosen": "a", "rejected": "b", "scores": {"chosen": {}, "rejected": {}}}\n',
        "--overwrite-scores",
    ),
    "encoding": ("\udce4", "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_wrong_input_is_told_before_anything_is_written(tmp_path: Path, case: str) -> None:
    content, words = BAD_FILES[case]
    pairs = tmp_path / "pairs.jsonl"
    if content is not None:
        pairs.write_bytes(content.encode("utf-8", "surrogateescape"))
    done = run("judge", "score", pairs, "--out", tmp_path / "out.jsonl")
    assert done.code == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ([] if content is None else ["pairs.jsonl"])


def test_wrong_places_and_wrong_flags(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path / "pairs.jsonl", 1)
    folder = run("judge", "score", tmp_path, "--out", tmp_path / "out")
    assert (folder.code, "a folder" in folder.stderr) == (2, True)
    to_folder = run("judge", "score", pairs, "--out", tmp_path)
    assert (to_folder.code, "a folder" in to_folder.stderr) == (2, True)
    (tmp_path / "file").write_text("x")
    under = run("judge", "score", pairs, "--out", tmp_path / "file" / "out")
    assert (under.code, "a file where a folder is needed" in under.stderr) == (2, True)
    mode = run("judge", "score", pairs, "--out", tmp_path / "out", "--mode", "fast")
    assert (mode.code, "'per-dimension', 'all' or 'pairwise'" in mode.stderr) == (2, True)
    itself = run("judge", "score", pairs, "--out", pairs)
    assert (itself.code, "another file" in itself.stderr) == (2, True)
    other = run("judge", "score", pairs, "--out", tmp_path / "o", "--rubric", "helpsteer")
    assert (other.code, "the embedded judge cannot grade" in other.stderr) == (2, True)
    rubric = tmp_path / "r.toml"
    rubric.write_text(
        'name = "r"\nscale = 4\n[[dimensions]]\nname = "a"\ntitle = "A"\nanchors = ["x", "y"]\n'
        '[[degradations]]\nname = "d"\ntitle = "D"\ntargets = ["b"]\ninstruction = ""\n'
        'severities = ["1"]\n'
    )
    unknown = run("judge", "score", pairs, "--out", tmp_path / "o", "--rubric", rubric)
    assert (unknown.code, "unknown dimension(s) b" in unknown.stderr) == (2, True)
    assert not (tmp_path / "o").exists()


def test_another_configuration_does_not_overwrite(tmp_path: Path) -> None:
    pairs, out = _pairs(tmp_path / "pairs.jsonl", 1), tmp_path / "out"
    assert run("judge", "score", pairs, "--out", out).code == 0
    before = out.read_bytes()
    done = run("judge", "score", pairs, "--out", out, "--temperature", "0.7")
    assert done.code == 2
    assert "temperature 0.0 before, 0.7 now" in done.stderr
    # How the work is done may differ.
    assert run("judge", "score", pairs, "--out", out, "--max-concurrency", "2").code == 0
    _pairs(pairs, 2)
    assert "other pairs than before" in run("judge", "score", pairs, "--out", out).stderr
    assert out.read_bytes() == before
    out.with_name("out.config.json").unlink()
    assert run("judge", "score", pairs, "--out", out).code == 2


def test_related_judge_and_writer_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pairs = tmp_path / "p"
    row = {"chosen": "a b", "rejected": "c", "metadata": {"gold_metadata": {"model": "qwen-plus"}}}
    pairs.write_text(json.dumps(row) + "\n")
    settings = ScoreSettings(llm=("dashscope:qwen3-max",))
    score_file(pairs, tmp_path / "out", settings, judges=[Judge(_levels(1))])
    assert "own family (qwen-plus)" in capsys.readouterr().err


def test_killed_at_any_moment_it_goes_on_to_the_same_file(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path / "pairs.jsonl", 120)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run("judge", "score", pairs, "--out", whole).code == 0
    ledger = tmp_path / "out.calls.jsonl"
    kills = 0
    for lines in (10, 200, 500):
        process = spawn("judge", "score", pairs, "--out", out)
        while process.poll() is None and (
            not ledger.exists() or ledger.read_bytes().count(b"\n") < lines
        ):
            time.sleep(0.005)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists() or process.returncode == 0
    assert kills, "the machine was too quick to kill anything"
    done = run("judge", "score", pairs, "--out", out)
    assert done.code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(ledger.read_bytes().splitlines()) == 120 * 2 * 3


def test_owed_levels_are_null_now_and_asked_for_by_the_next_run(tmp_path: Path) -> None:
    from reward_model.llm import RetryableError

    pairs, out = _pairs(tmp_path / "pairs.jsonl", 2), tmp_path / "out"

    class Down(Judge):
        async def complete(self, request: Request) -> Reply:
            if GOOD in request.messages[-1].content and "accuracy:" in request.messages[-1].content:
                raise RetryableError("overloaded", retry_after_s=0.001)
            return await super().complete(request)

    with pytest.raises(Stopped, match="2 level"):
        score_file(pairs, out, ScoreSettings(attempts=2), judges=[Down(_levels(3))])
    scores = _rows(out)[0]["scores"]
    assert scores["chosen"] == {"depth": 3, "professionalism": 3, "accuracy": None}
    assert scores["judge"]["failures"] == {"chosen": {"accuracy": {"failed": 1}}}
    healed = Judge(_levels(3))
    score_file(pairs, out, ScoreSettings(), judges=[healed])
    assert len(healed.requests) == 2
    assert _rows(out)[0]["scores"]["chosen"]["accuracy"] == 3


def test_findings_of_the_checks_are_shown_for_accuracy_alone(tmp_path: Path) -> None:
    judge = Judge(_levels(2))
    settings = ScoreSettings(evidence="checks")
    score_file(_pairs(tmp_path / "p", 1), tmp_path / "out", settings, judges=[judge])
    shown = [sections(request.messages[-1].content) for request in judge.requests]
    with_findings = [parts for parts in shown if "evidence" in parts]
    assert {parts["dimensions"].split(":")[0] for parts in with_findings} == {"accuracy"}
    good = next(parts["evidence"] for parts in with_findings if GOOD in parts["report"])
    assert "verified: 20%" in good


def test_several_draws_keep_mean_majority_and_spread() -> None:
    def scores(*levels: int | None) -> dict[str, Any]:
        draws = [
            Draw("chosen", "depth", judge, None, level, None, None if level else "parse")
            for judge, level in zip("aab", levels, strict=True)
        ]
        return merge(draws, ["depth"])

    made = scores(4, 4, 1)
    assert made["chosen"]["depth"] == 3  # (mean of 4 and 4, and 1) / 2 = 2.5, rounded half up
    assert made["judge"]["mean"] == {"chosen": {"depth": 2.5}}
    assert made["judge"]["majority"] == {"chosen": {"depth": 4}}
    assert scores(3, 4, None)["judge"]["majority"] == {"chosen": {"depth": None}}
    assert "mean" not in scores(None, None, None)["judge"]


def test_own_prices_make_the_cost_and_the_budget(tmp_path: Path) -> None:
    from llm_server import LLMServer

    pairs, out = _pairs(tmp_path / "pairs.jsonl", 1), tmp_path / "out.jsonl"
    prices = tmp_path / "prices.toml"
    prices.write_text("[m]\ninput = 1000.0\noutput = 1000.0\n")

    def answer(messages: list[dict[str, str]]) -> str:
        name = sections(messages[-1]["content"])["dimensions"].split(":")[0]
        return json.dumps({"reasoning": {name: "so"}, "levels": {name: 2}})

    with LLMServer(answer=answer) as server:
        there = ("--llm", f"openai:m@{server.url}", "--prices", prices)
        done = run("judge", "score", pairs, "--out", out, *there)
        assert done.code == 0, done.stderr
        assert json.loads(Path(f"{out}.report.json").read_text())["cost_usd"] > 1
        done = run("judge", "score", pairs, "--out", f"{out}2", *there, "--budget", "0.01")
        assert done.code == 3
        assert "could pass the budget" in done.stderr


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_rows_may_be_columns_of_a_table(tmp_path: Path, ending: str) -> None:
    """The same levels as of the same rows in JSON Lines; other columns stay."""
    rows = [
        {"prompt": f"公司{i}\n{TABLE}", "chosen": GOOD, "rejected": f"{BAD}{i}", "source": "web"}
        for i in range(2)
    ]
    lines, table = tmp_path / "rows.jsonl", tmp_path / f"rows.{ending}"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    if ending == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    else:
        with table.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if ending == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    for path in (lines, table):
        done = run("judge", "score", path, "--out", tmp_path / f"{path.name}.out")
        assert done.code == 0, done.stderr
    scored = _rows(tmp_path / f"{table.name}.out")
    assert scored == _rows(tmp_path / f"{lines.name}.out")
    assert [row["source"] for row in scored] == ["web", "web"]
    again = run("judge", "score", table, "--out", tmp_path / f"{table.name}.out")
    assert "0 calls made" in again.stderr


def test_a_row_of_a_table_is_named_by_its_number(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('prompt,response\n"a\nb",c\nd,e\n', "utf-8")
    told = run("judge", "score", table, "--out", tmp_path / "o", "--mode", "pairwise")
    assert (told.code, "no pair in row 1" in told.stderr) == (2, True)
    table.write_text("question,text\nd,e\n", "utf-8")
    told = run("judge", "score", table, "--out", tmp_path / "o")
    assert (told.code, "keys question, text in row 1" in told.stderr) == (2, True)


def test_a_table_where_lines_are_needed_is_called_what_it_is(tmp_path: Path) -> None:
    named, other = tmp_path / "rows.csv", tmp_path / "rows.jsonl"
    for path in (named, other):
        path.write_text("prompt,chosen,rejected\na,b,c\n", "utf-8")
    columns = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "a", "response": "b"}]), columns)
    for path, words in (
        (named, "a CSV file"),
        (other, "what looks like a CSV file"),
        (columns, "a Parquet file; expected"),
    ):
        for args in (("validate", path), ("agree", path, path)):
            told = run("judge", *args)
            assert (told.code, words in told.stderr) == (2, True), told.stderr
            assert "as JSON Lines" in told.stderr
            assert "another name" not in told.stderr
