"""Records, JSONL files and messages: what is read, refused, appended and repaired."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.records import (
    Appender,
    Pair,
    UserError,
    as_text,
    digest,
    dump_json,
    locked,
    parse_record,
    read_jsonl,
    read_object,
    read_pairs,
    repair_tail,
    write_jsonl,
    write_text,
    writing,
)
from reward_model.records.rows import KEY, parse_row

TWO = {"chosen": "good", "rejected": "bad"}


def lines(path: Path, *values: object) -> Path:
    path.write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values), "utf-8")
    return path


def test_real_pairs_load_as_they_are(real_data: Path) -> None:
    pairs = list(read_pairs(real_data / "finreport_pairs_0to4.jsonl"))
    assert len(pairs) == 15
    assert len({pair.key for pair in pairs}) == 15
    first = pairs[0]
    assert first.scores is not None
    assert first.scores.gap("depth") == 2
    flat = first.scores.reason("chosen", "depth")
    assert flat is not None
    assert flat == first.scores.reason("rejected", "depth")
    assert first.metadata.defect_metadata is not None
    assert first.metadata.defect_metadata.degradation_type == "浅化深度"


def test_the_record_of_the_design_round_trips() -> None:
    record = {
        "id": "a-1",
        "prompt": [{"role": "user", "content": "写一份报告"}],
        "chosen": "营业收入增长 14.7%",
        "rejected": "营业收入增长 41.7%",
        "metadata": {
            "field": "制造业",
            "kind": "degraded",
            "own_key": {"kept": [1, None]},
            "gold_metadata": {"quality_focus": "data_accuracy", "temperature": 0.3},
            "defect_metadata": {
                "degradation_type": "simplified_calculation",
                "severity": 2,
                "targets": ["accuracy"],
                "planted": [
                    {"where": [7, 12], "was": "14.7%", "now": "41.7%", "error": "transposition"}
                ],
            },
        },
        "scores": {
            "chosen": {"depth": 4, "accuracy": None},
            "rejected": {"depth": 1, "accuracy": 0},
            "reasoning": {"chosen": {"depth": "why"}, "rejected": {"depth": None}},
            "judge": {
                "model": "m",
                "rubric": "financial_report@0",
                "samples": 3,
                "spread": {"chosen": {"depth": 0.5}},
            },
        },
    }
    pair = parse_record(Pair, record)
    assert pair.to_json() == record
    assert as_text(pair.prompt) == "写一份报告"
    assert pair.scores.gap("depth") == 3
    assert pair.scores.gap("accuracy") is None
    assert pair.scores.reason("chosen", "depth") == "why"


def test_meta_is_metadata_and_a_prompt_may_be_absent() -> None:
    pair = parse_record(Pair, {**TWO, "meta": {"bias_type": "gender"}})
    assert pair.metadata.model_extra == {"bias_type": "gender"}
    assert pair.prompt == ""


def test_the_group_is_prompt_id_then_company_then_prompt() -> None:
    def group(**metadata: str) -> str:
        return parse_record(Pair, {**TWO, "prompt": "p", "metadata": metadata}).group

    assert group(prompt_id="p1", company="c1") == "p1"
    assert group(company="c1") == "c1"
    assert group() == group() == digest("p")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found an empty file; expected JSON Lines"),
        (b'{"chosen": "a", "rejected": "b"}\n' * 6 + b'{"chosen": \n', "line 7: found broken JSON"),
        (b'{"chosen": "a"}\n', "line 1: found no key rejected"),
        (b"[1]\n", "line 1: found a JSON array; expected a JSON object"),
        (b"null\n", "line 1: found a JSON null"),
        (b'{"chosen": "a", "rejected": "b", "score": 1}\n', "unknown key score"),
        (b'{"chosen": "a", "rejected": NaN}\n', "NaN is not a JSON number"),
        ('{"chosen": "好"}\n'.encode("gb18030"), "line 1: found bytes that are not UTF-8"),
        (
            dump_json({**TWO, "scores": {"chosen": {"depth": "high"}, "rejected": {}}}).encode(),
            "found 'high' in scores.chosen.depth; expected an integer level or null",
        ),
        (
            dump_json({**TWO, "scores": {"chosen": {"depth": 3.0}, "rejected": {}}}).encode(),
            "found 3.0 in scores.chosen.depth; expected an integer level or null",
        ),
        (
            dump_json({**TWO, "scores": {"chosen": {"depth": True}, "rejected": {}}}).encode(),
            "found True in scores.chosen.depth; expected an integer level or null",
        ),
    ],
)
def test_a_bad_file_is_told_by_file_line_found_and_expected(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        list(read_pairs(path))
    assert words in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b'{"a": 1}', mtime=0), "a file compressed with gzip.*gunzip"),
        (b"PAR1\xff\xfe", r"a Parquet file under another name.*\.parquet"),
        (b"PK\x03\x04\xff", "a zip archive or a sheet of Excel"),
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16 text.*iconv -f UTF-16"),
        ('{"a": "万"}\n'.encode("utf-16-le"), r"UTF-16 text \(LE, without its mark\).*-f UTF-16LE"),
        ('{"a": 1}\n'.encode("utf-16-be"), r"UTF-16 text \(BE, without its mark\).*-f UTF-16BE"),
        (b'[\n {"a": 1}\n]\n', r"one JSON list over several lines.*jq -c '\.\[\]'"),
        (b'{\n "a": 1\n}\n', r"one JSON object over several lines.*jq -c '\.'"),
        (b'[{"a": 1}]\n', r"a JSON array; .*jq -c '\.\[\]'"),
        (b'{"a": 1\n', "broken JSON"),
    ],
)
def test_a_file_of_another_kind_is_told_with_the_way_out(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        list(read_jsonl(path))


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="found a folder; expected a file"):
        list(read_jsonl(tmp_path))
    with pytest.raises(UserError, match="found a folder; expected a file to write"):
        write_text(tmp_path, "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file where a folder is needed"):
        write_text(tmp_path / "file" / "below", "x")


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": 2}')
    assert [(line.number, line.value["a"]) for line in read_jsonl(path)] == [(1, 1), (4, 2)]


def test_errors_survive_the_way_between_processes() -> None:
    error = UserError("x", expected="y", mend="z", path="p", line=3)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_jsonl(path, [{"a": 1}])

    def rows() -> object:
        yield {"a": 2}
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_jsonl(path, rows())
    assert path.read_text() == '{"a": 1}\n'
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    (tmp_path / "ledger.jsonl").symlink_to("/dev/full")
    appender = Appender.__new__(Appender)
    appender.path = tmp_path / "ledger.jsonl"
    appender._handle = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(UserError, match="no space left on the disk; free some space"):
        appender.append({"a": 1})
    os.close(appender._handle)


def test_published_files_have_the_usual_permissions(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        with writing(tmp_path / "a") as file:
            file.write(b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none())), st.binary())
def test_a_torn_tail_is_cut_and_nothing_else(tmp_path_factory, rows, tail) -> None:
    path = tmp_path_factory.mktemp("torn") / "a.jsonl"
    with Appender(path) as appender:
        for row in rows:
            appender.append(row)
    whole = path.read_bytes()
    torn = tail.replace(b"\n", b"").removeprefix(b"{") + b"}"
    path.write_bytes(whole + torn)
    assert repair_tail(path)
    assert path.read_bytes() == whole
    assert [line.value for line in read_jsonl(path, allow_empty=True)] == rows


def test_a_killed_writer_loses_nothing_it_appended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    code = (
        "import sys, itertools\n"
        "from reward_model.records import Appender\n"
        "a = Appender(sys.argv[1])\n"
        "for i in itertools.count():\n"
        "    a.append({'i': i, 'text': '长' * 500}); print(i, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    time.sleep(1.0)
    child.send_signal(signal.SIGKILL)
    out, _ = child.communicate()
    confirmed = int(out.split()[-1])
    Appender(path).close()
    kept = [line.value["i"] for line in read_jsonl(path)]
    assert kept == list(range(len(kept)))
    assert len(kept) >= confirmed + 1


def test_a_file_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl"
    code = (
        "import sys\n"
        "from reward_model.records import UserError, locked\n"
        "try:\n"
        "    with locked(sys.argv[1]): pass\n"
        "except UserError as error: print(error)\n"
    )

    def other() -> str:
        command = [sys.executable, "-c", code, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with locked(path):
        with Appender(path) as appender:
            appender.append({"a": 1})
        with pytest.raises(UserError, match="another run is writing"), locked(path):
            pass
        assert "found a file that another run is writing; wait" in other()
    assert other() == ""
    assert path.read_bytes() == b'{"a": 1}\n'
    with locked(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()
    with pytest.raises(UserError, match="a folder"), locked(tmp_path):
        pass


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_digest_depends_on_content_alone(value: object) -> None:
    assert digest(value) == digest(json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"loss": Infinity}', {"loss": float("inf")}),
        (b"", None),
        (b'{"a": 1', None),
        (b"[1]", None),
        (b"null", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_an_object_is_read_or_there_is_none(
    tmp_path: Path, content: bytes, found: dict[str, float] | None
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert read_object(path) == found
    assert read_object(tmp_path) is None
    assert read_object(path / "below") is None
    if b"Infinity" in content:
        assert read_object(path, strict=True) is None


PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(
    ("row", "texts", "known"),
    [
        (PAIR, ("a", "b"), (None, None)),
        ({**PAIR, KEY: {"chosen": 1, "rejected": 2}}, ("a", "b"), (1, 2)),
        ({"prompt": "p", "response": "r", "completion": "c"}, ("r",), (None,)),
        ({"completion": "c", KEY: 1, "mine": 2}, ("c",), (1,)),
        ({"prompt": "p", "completions": ["a", {"response": "b", KEY: 2}]}, ("a", "b"), (None, 2)),
    ],
)
def test_a_row_of_any_shape(row: dict[str, Any], texts: tuple[str, ...], known: Any) -> None:
    found = parse_row(row)
    assert found.completions == texts
    assert found.known == known
    if "completions" not in row:  # whoever reads it, it is the same row
        assert parse_row(row, several=False) == found


@pytest.mark.parametrize("how", [{}, {"several": False}, {"labelled": True}])
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p"}, "keys prompt; expected .*or a pair"),
        ({"prompt": "p", "chosen": "a"}, "no key rejected"),
        ({"completion": 5}, "5 in completion; expected a text"),
        ({"response": "r", "prompt": 5}, "5 in prompt; expected a text"),
    ],
)
def test_what_is_wrong_with_a_row_is_told_alike(
    row: dict[str, Any], words: str, how: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=words):
        parse_row(row, **how)


def test_a_column_of_labels_may_be_misspelt() -> None:
    row = {"response": "r", "score": {"depth": 3}}
    assert parse_row(row).completions == ("r",)
    with pytest.raises(UserError, match="unknown key score"):
        parse_row(row, labelled=True)
    assert parse_row({"response": "r", KEY: {}}, labelled=True).single is not None
