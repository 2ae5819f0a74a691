"""Scoring files and single texts: same rows plus scores, whatever stops the run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import save_decoder, save_encoder
from typer.testing import CliRunner

from reward_model import RewardScorer, load_rubric
from reward_model.cli.commands import app
from reward_model.cli.score import score_one, tell, text_or_file
from reward_model.records import UserError, locked, read_jsonl
from reward_model.records.rows import unscored
from reward_model.records.tables import read_rows
from reward_model.rubrics import say
from reward_model.score.files.run import score_file


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("score") / "model")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [line.value for line in read_jsonl(path)]


MIXED: list[dict[str, Any]] = [
    {"id": "a", "prompt": "问", "chosen": "好的报告", "rejected": "差", "metadata": {"own": [1]}},
    {"prompt": "q", "response": "text", "helpfulness": 3, "note": None},
    {"prompt": "q", "completion": [{"role": "assistant", "content": "text"}]},
    {"response": "  "},
]


def test_rows_come_back_as_they_were_with_their_scores(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    summary = score_file(model, write(tmp_path / "in.jsonl", MIXED), out)
    pair, single, completion, empty = rows_of(out)
    for row, before in zip(rows_of(out), MIXED, strict=True):
        assert {key: kept for key, kept in row.items() if key != "reward_model"} == before
    scorer = RewardScorer.from_pretrained(model)
    for side in ("chosen", "rejected"):
        expected = scorer.score("问", MIXED[0][side])
        assert pair["reward_model"][side]["reward"] == pytest.approx(expected.reward, abs=1e-5)
        assert set(pair["reward_model"][side]["levels"]) == set(scorer.dimensions)
    assert single["reward_model"]["reward"] == completion["reward_model"]["reward"]
    assert empty["reward_model"]["reward"] is None
    assert empty["reward_model"]["reason"] == "the response is empty"
    assert summary.rows == 4
    assert summary.responses == 5
    assert summary.no_opinion == {"the response is empty": 1}
    config = json.loads((tmp_path / "out.jsonl.config.json").read_text())
    assert config["rubric"] == load_rubric("financial_report").id


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 100_000))
def test_cut_anywhere_the_same_command_ends_in_the_same_bytes(
    model: Path, tmp_path: Path, cut: int
) -> None:
    """A kill leaves the file cut at some byte; nothing is lost, nothing comes twice."""
    texts = write(tmp_path / "in.jsonl", [{"prompt": "q", "response": f"t {i}"} for i in range(70)])
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    if not whole.exists():
        score_file(model, texts, whole)
    complete = whole.read_bytes()
    out.write_bytes(complete[: cut % (len(complete) + 1)])
    (tmp_path / "out.jsonl.config.json").write_bytes(
        (tmp_path / "whole.jsonl.config.json").read_bytes()
    )
    summary = score_file(model, texts, out)
    assert out.read_bytes() == complete
    assert summary.rows == 70


def test_a_finished_file_is_left_alone(model: Path, tmp_path: Path) -> None:
    texts, out = write(tmp_path / "in.jsonl", MIXED), tmp_path / "out.jsonl"
    score_file(model, texts, out)
    before = (out.read_bytes(), out.stat().st_mtime_ns)
    assert score_file(model, texts, out).resumed == 4
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before


def test_results_of_something_else_are_never_continued(model: Path, tmp_path: Path) -> None:
    texts, out = write(tmp_path / "in.jsonl", MIXED), tmp_path / "out.jsonl"
    score_file(model, texts, out)
    before = out.read_bytes()
    with pytest.raises(UserError, match="scores with another risk"):
        score_file(model, texts, out, risk=1.0)
    with pytest.raises(UserError, match="scores with another model"):
        score_file(save_encoder(tmp_path / "other", seed=1), texts, out)
    changed = write(tmp_path / "changed.jsonl", [*MIXED[:1], {"response": "new"}, *MIXED[2:]])
    with pytest.raises(UserError, match=r"out\.jsonl, line 2: found a row that is not this row"):
        score_file(model, changed, out)
    with pytest.raises(UserError, match="the input itself"):
        score_file(model, texts, texts)
    for mine in ("{}\n", "{}"):
        (tmp_path / "mine.json").write_text(mine)
        with pytest.raises(UserError, match="a file that this command did not write"):
            score_file(model, texts, tmp_path / "mine.json")
        assert (tmp_path / "mine.json").read_text() == mine
    assert out.read_bytes() == before


def test_two_runs_do_not_write_one_file(model: Path, tmp_path: Path) -> None:
    texts, out = write(tmp_path / "in.jsonl", MIXED), tmp_path / "out.jsonl"
    with locked(out), pytest.raises(UserError, match="a file that another run is writing"):
        score_file(model, texts, out)
    table = tmp_path / "out.parquet"
    with (
        locked(table),
        pytest.raises(UserError, match="a file that another run is writing"),
    ):
        score_file(model, write(tmp_path / "b.jsonl", MIXED[:1]), table)
    assert score_file(model, texts, out).rows == len(rows_of(out)) == 4


def test_what_cannot_be_scored_with_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    texts = write(tmp_path / "in.jsonl", MIXED)
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    for words, folder, asked in [
        ("device 'gpu'; expected one that this machine has: cpu", model, {"device": "gpu"}),
        ("device 'cuda:99'", model, {"device": "cuda:99"}),
        ("weight of unknown dimension 'tone'", model, {"weights": {"tone": 1.0}}),
        ("a model that cannot be read", broken, {}),
    ]:
        with pytest.raises(UserError) as raised:
            score_file(folder, texts, tmp_path / "out.jsonl", **asked)
        assert words in str(raised.value)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "in.jsonl"]


def test_another_device_goes_on_and_is_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = write(tmp_path / "in.jsonl", MIXED), tmp_path / "out.jsonl"
    config = tmp_path / "out.jsonl.config.json"
    first = score_file(model, texts, out, device="cpu")
    assert first.computed_on == json.loads(config.read_text())["computed_on"] == ["cpu, float32"]
    tell(first, out)
    assert "not all on one" not in capsys.readouterr().err
    config.write_text(config.read_text().replace("cpu, float32", "cuda, bfloat16"))
    out.write_bytes(out.read_bytes()[:-20])
    second = score_file(model, texts, out, device="cpu")
    assert second.resumed == 3
    assert json.loads(config.read_text())["computed_on"] == ["cuda, bfloat16", "cpu, float32"]
    tell(second, out)
    assert "not all on one device (cuda, bfloat16; cpu, float32)" in capsys.readouterr().err


GOOD = '{"prompt": "q", "response": "r"}\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (GOOD.encode() * 6 + b"{broken\n", "line 7: found broken JSON"),
        (GOOD.encode() + b'{"prompt": "q", "text": "r"}\n', "line 2: found keys prompt, text"),
        (b'{"prompt": "q", "chosen": "a"}\n', "line 1: found no key rejected"),
        (
            b'{"prompt": "q", "chosen": "a", "rejected": 7}\n',
            "line 1: found 7 in rejected; expected a text or",
        ),
        (b'{"response": null}\n', "line 1: found None in response; expected a text or"),
        (
            b'{"chosen": "a", "rejected": "b", '
            b'"scores": {"chosen": {"depth": "high"}, "rejected": {}}}\n',
            "'high' in scores.chosen.depth",
        ),
        ('{"response": "报告"}\n'.encode("gb18030"), "not UTF-8"),
        (b"[1]\n", "a JSON array"),
        (GOOD.encode() + b'{"response": "a \\ud800"}\n', "line 2: found half of a character"),
        (GOOD.encode() + b'{"response": "a", "n": 1e999}\n', "line 2: found a number too large"),
    ],
)
def test_wrong_input_is_said_before_anything_is_written(
    model: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    texts, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    texts.write_bytes(content)
    with pytest.raises(UserError) as raised:
        score_file(model, texts, out)
    assert words in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_wrong_places(model: Path, tmp_path: Path) -> None:
    texts = write(tmp_path / "in.jsonl", MIXED)
    with pytest.raises(UserError, match="no such file"):
        score_file(model, tmp_path / "gone.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(UserError, match="a folder"):
        score_file(model, tmp_path, tmp_path / "out.jsonl")
    with pytest.raises(UserError, match="no such folder"):
        score_file(tmp_path / "no_model", texts, tmp_path / "out.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="a folder"):
        score_file(model, texts, tmp_path / "folder")
    with pytest.raises(UserError, match=r"a file where a folder is needed"):
        score_file(model, texts, texts / "out.jsonl")


def test_one_response_as_a_table_and_as_json(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.md"
    report.write_text("净利润上升。" * 200, "utf-8")
    result = score_one(model, "问题", f"@{report}")
    shown = capsys.readouterr().err
    assert f"reward {result['reward']:.3f}" in shown
    assert say(load_rubric("financial_report").dimension("depth").title, "zh") in shown
    assert f"{result['levels']['depth']:.2f}" in shown
    assert "the response did not fit 256 tokens" in shown
    assert result["response_truncated"]
    with pytest.raises(UserError, match="no such file"):
        text_or_file("@gone.md")


@pytest.mark.slow
def test_several_processes_and_models_give_what_one_does(model: Path, tmp_path: Path) -> None:
    """Blocks of 32 rows to two workers; a member of another kind beside the first."""
    rows = [{"prompt": "q", "response": f"{i} " + "text " * (i % 9)} for i in range(100)]
    texts = write(tmp_path / "in.jsonl", [*rows, MIXED[0]])
    other = save_decoder(tmp_path / "other")
    out = {n: tmp_path / f"{n}.jsonl" for n in (1, 2)}
    for n, path in out.items():
        score_file([model, other], texts, path, how="minimum", num_workers=n)
    one, two = rows_of(out[1]), rows_of(out[2])
    assert [unscored(row) for row in two] == [unscored(row) for row in one]
    assert [flat(row) for row in two] == [pytest.approx(flat(row), abs=2e-6) for row in one]
    assert one[0]["reward_model"]["spread"] > 0
    config = json.loads((tmp_path / "1.jsonl.config.json").read_text())
    assert config["model"]["how"] == "minimum"
    with pytest.raises(UserError, match="scores with another model"):
        score_file(model, texts, out[1])
    with pytest.raises(UserError, match="weight of unknown dimension 'tone'"):
        score_file(model, texts, tmp_path / "3.jsonl", weights={"tone": 1.0})


def flat(row: dict[str, Any]) -> list[float]:
    """The numbers of a row's scores."""

    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [n for one in value.values() for n in numbers(one)]
        if isinstance(value, list):
            return [n for one in value for n in numbers(one)]
        return [float(value)] if isinstance(value, int | float) else []

    return numbers(row["reward_model"])


def test_models_of_different_rubrics_are_refused(model: Path, tmp_path: Path) -> None:
    other = save_encoder(tmp_path / "other", rubric=load_rubric("helpsteer"))
    texts = write(tmp_path / "in.jsonl", MIXED)
    with pytest.raises(UserError, match="a model of another rubric"):
        score_file([model, other], texts, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_flags_that_do_not_fit(model: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    texts = str(write(tmp_path / "in.jsonl", MIXED))
    for words, *flags in [
        ("nothing to score",),
        ("no --out", texts),
        ("both a file and --response", texts, "--response", "x"),
        ("--weight 'depth'", "--response", "x", "--weight", "depth"),
        ("weight of unknown dimension 'tone'", "--response", "x", "--weight", "tone=1"),
        ("--how median", "--response", "x", "--how", "median"),
        ("--risk -1", "--response", "x", "--risk", "-1"),
        ("device 'gpu'", "--response", "x", "--device", "gpu"),
        ("--num-workers beside --response", "--response", "x", "--num-workers", "2"),
        ("--batch-tokens or", "--response", "x", "--batch-tokens", "64"),
        ("--prompt beside a file", texts, "--out", str(tmp_path / "out"), "--prompt", "q"),
    ]:
        result = run(app, ["score", str(model), *flags])
        assert isinstance(result.exception, UserError), words
        assert words in str(result.exception)


def test_real_pairs_are_scored_as_they_are(model: Path, real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    summary = score_file(model, real_data / "finreport_pairs_0to4.jsonl", out)
    assert summary.rows == 15
    assert summary.prompts_truncated == 30
    assert all(row["reward_model"]["chosen"]["reward"] is not None for row in rows_of(out))


def test_rows_as_tables_hold_them(model: Path, tmp_path: Path) -> None:
    """CSV and TSV in, integer ids, other columns on every kind of row."""
    pair = {
        "id": 7,
        "prompt": "p",
        "chosen": "good, long",
        "rejected": "bad",
        "source": "web",
        "n": 3,
    }
    single = {"id": 8, "prompt": "p", "response": "one\ntwo", "source": "web"}
    score_file(model, write(tmp_path / "in.jsonl", [pair, single]), tmp_path / "out.jsonl")
    whole = rows_of(tmp_path / "out.jsonl")
    assert [{k: v for k, v in row.items() if k != "reward_model"} for row in whole] == [
        pair,
        single,
    ]
    for name, separator, row in (("a.csv", ",", pair), ("b.tsv", "\t", single)):
        with (tmp_path / name).open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.DictWriter(file, list(row), delimiter=separator)
            table.writeheader()
            table.writerows([row, row])
        for ending in ("jsonl", "parquet"):
            assert score_file(model, tmp_path / name, tmp_path / f"{name}.{ending}").rows == 2
        scored = rows_of(tmp_path / f"{name}.jsonl")
        assert scored[1]["source"] == "web"
        assert scored[0]["reward_model"] == whole[row is single]["reward_model"]
    (tmp_path / "bad.csv").write_text("prompt,text\na,b\n")
    with pytest.raises(UserError, match="keys prompt, text in row 1"):
        score_file(model, tmp_path / "bad.csv", tmp_path / "bad.jsonl")
    (tmp_path / "torn.csv").write_text("prompt,response\na,b\na\n")
    with pytest.raises(UserError, match=r"torn\.csv, line 3: found a row with another number"):
        score_file(model, tmp_path / "torn.csv", tmp_path / "bad.jsonl")
    assert not (tmp_path / "bad.jsonl").exists()


def test_rows_of_other_data_sets_and_named_columns(model: Path, tmp_path: Path) -> None:
    """Scores stand under the columns of the texts, as a list for a list; other columns are kept."""
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "good"}]
    good, bad = {"response": "good"}, {"response": "bad"}
    two = {"prompt": "q", "response_a": "bad", "response_b": "good", "winner": "model_b", "n": 1}
    three = {"context": turns[:1], "response1": "good", "response2": "bad"}
    forms: list[tuple[dict[str, Any], Any]] = [
        ({"conversations": turns, "n": 1}, "good"),
        ({"instruction": "q", "completions": [good, bad]}, ["good", "bad"]),
        (two, {"response_a": "bad", "response_b": "good"}),
        ({**three, "overall_preference": 0}, {"response1": "good", "response2": "bad"}),
    ]
    out = tmp_path / "out.jsonl"
    score_file(model, write(tmp_path / "in.jsonl", [row for row, _ in forms]), out)
    scorer = RewardScorer.from_pretrained(model)

    def rewards(texts: Any, scores: Any) -> None:
        if isinstance(texts, str):
            expected = scorer.score("q", texts).reward
            assert scores["reward"] == pytest.approx(expected, abs=1e-5)
        elif isinstance(texts, dict):
            assert set(texts) == set(scores)
            for name, text in texts.items():
                rewards(text, scores[name])
        else:
            for text, one in zip(texts, scores, strict=True):
                rewards(text, one)

    for (row, texts), scored in zip(forms, rows_of(out), strict=True):
        assert {k: v for k, v in scored.items() if k != "reward_model"} == row
        rewards(texts, scored["reward_model"])
    lists = write(tmp_path / "lists.jsonl", [forms[1][0]] * 2)
    score_file(model, lists, tmp_path / "lists.parquet")
    scored = next(iter(read_rows(tmp_path / "lists.parquet"))).value["reward_model"]
    assert [one["reward"] for one in scored] == [
        one["reward"] for one in rows_of(out)[1]["reward_model"]
    ]
    (tmp_path / "own.csv").write_text("ask,text,note\nq,good,1\n")
    with pytest.raises(UserError, match="keys ask, text, note in row 1"):
        score_file(model, tmp_path / "own.csv", tmp_path / "own.jsonl")
    told = ["score", str(model), str(tmp_path / "own.csv"), "--out", str(tmp_path / "own.jsonl")]
    invoke = CliRunner().invoke
    done = invoke(app, [*told, "--columns", "prompt=ask,response=text"])
    assert done.exit_code == 0
    assert "\nscore: 0 of " in f"\n{done.stderr}"  # long work says so without a terminal too
    (own,) = rows_of(tmp_path / "own.jsonl")
    assert (own["ask"], own["note"]) == ("q", "1")
    rewards("good", own["reward_model"])
    other = invoke(app, [*told, "--columns", "response=text"])
    assert "scores with another columns" in str(other.exception)
