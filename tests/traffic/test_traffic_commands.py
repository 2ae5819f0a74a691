"""`reward-model traffic` on logs as servers write them, and on what people hand it by mistake."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from page_text import english_left

from reward_model.records.rows import parse_row
from reward_model.traffic import arm, lines
from reward_model.traffic.page import ab_page, monitor_page

REFUSAL = "I’m sorry, but I can't help with that."
SPLIT = {"old": 0.5, "new": 0.5}


def log_rows(
    count: int = 2000, refusals: float = 0.02, slower: float = 1.0, lift: float = 0.0, seed: int = 0
) -> list[dict[str, Any]]:
    """Two weeks of traffic; `slower` and `lift` are what the arm `new` does."""
    rng = np.random.default_rng(seed)
    rows = []
    for at in range(count):
        user = f"user-{rng.integers(count // 4)}"
        own = arm(user, "round-2", SPLIT)
        new = own == "new"
        rows.append(
            {
                "id": f"row-{at}",
                "time": f"2026-11-{1 + 14 * at // count:02d}T{at % 24:02d}:00:00Z",
                "user": user,
                "arm": own,
                "model": "policy-2",
                "prompt": f"question {at % 50}",
                "response": REFUSAL if rng.random() < refusals else f"answer {at}",
                "latency_ms": float(rng.lognormal(6, 0.3)) * (slower if new else 1.0),
                "feedback": "up" if rng.random() < 0.7 + lift * new else "down",
                "flags": {"toxic": bool(rng.random() < 0.01)},
            }
        )
    rows[-1]["time"] = "2026-11-15T00:00:00Z"
    return rows


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def told(*args: object) -> tuple[int, dict[str, Any]]:
    outcome = run("reward-model", "traffic", *args, "--json", "-")
    assert not outcome.stderr.count("Traceback"), outcome.stderr
    assert outcome.code in (0, 1), outcome.stderr
    return outcome.code, json.loads(outcome.stdout)


def metrics(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["metrics"]}


def test_a_log_is_told_without_any_settings(tmp_path: Path) -> None:
    code, found = told("monitor", written(tmp_path / "log.jsonl", log_rows()))
    by_name = metrics(found)
    assert code == 0
    assert set(by_name) == {
        "rows a second",
        "refused",
        "thumbs up",
        "latency_ms p50",
        "latency_ms p95",
        "flags.toxic share",
    }
    assert 0.01 < by_name["refused"]["value"] < 0.03
    assert by_name["thumbs up"]["low"] < 0.7 < by_name["thumbs up"]["high"]


def test_without_times_there_is_no_rate(tmp_path: Path) -> None:
    """A file of texts is a log without times; what is not known is no number in JSON."""
    path = written(tmp_path / "texts.jsonl", [{"prompt": "p", "response": "r"}] * 3)
    code, found = told("monitor", path)
    assert (code, found["rows"], found["from"]) == (0, 3, None)
    assert metrics(found).get("rows a second", {"value": None})["value"] is None


MONITOR = """
[[metric]]
of = "refused"
is = "share"
max = 0.05
[[metric]]
of = "latency_ms"
is = "p95"
rise = "20%"
[[metric]]
of = "flags.toxic"
is = "share"
max = 0.009
"""


def test_an_alert_needs_the_whole_interval(tmp_path: Path) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text(MONITOR)
    before = written(tmp_path / "before.jsonl", log_rows(seed=1))
    page = tmp_path / "page.html"
    args = ("--config", config, "--baseline", before)
    code, found = told("monitor", written(tmp_path / "good.jsonl", log_rows()), *args)
    assert code == 0
    assert metrics(found)["flags.toxic share"]["status"] in ("ok", "watch")
    assert metrics(found)["latency_ms p95"]["status"] == "ok"
    bad = [{**row, "latency_ms": row["latency_ms"] * 1.5} for row in log_rows(refusals=0.1, seed=2)]
    code, found = told("monitor", written(tmp_path / "bad.jsonl", bad), *args, "--html", page)
    assert code == 1
    assert metrics(found)["refused"]["status"] == "alert"
    assert metrics(found)["latency_ms p95"]["status"] == "alert"
    assert "alert" in page.read_text("utf-8")
    verdict = page.read_text("utf-8").split('class="verdict"')[1].split("</section>")[0]
    assert "<li>refused is 9.85% [8.61%, 11.25%], beyond max 5%</li>" in verdict
    assert "beyond rise by 20% of the baseline" in verdict
    assert "<li>拒答为 9.85% [8.61%, 11.25%]，超出：上限 5%</li>" in monitor_page(found, "zh")
    assert not english_left(monitor_page(found, "zh"), str(tmp_path), "flags.toxic", "latency_ms")
    assert "question 1" not in page.read_text("utf-8")


def test_few_rows_are_no_verdict(tmp_path: Path) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text('min_rows = 500\n[[metric]]\nof = "refused"\nis = "share"\nmax = 0.01\n')
    log = written(tmp_path / "log.jsonl", log_rows(200, refusals=0.5))
    code, found = told("monitor", log, "--config", config)
    assert code == 0
    assert metrics(found)["refused"]["status"] == "few"


def test_the_last_window_is_judged_and_the_others_are_drawn(tmp_path: Path) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text('window = "2d"\n[[metric]]\nof = "refused"\nis = "share"\nmax = 0.2\n')
    rows = log_rows(3000, refusals=0.02)
    for row in rows[-600:]:
        row["response"] = REFUSAL
    code, found = told("monitor", written(tmp_path / "log.jsonl", rows), "--config", config)
    refused = metrics(found)["refused"]
    assert code == 1
    assert refused["value"] > 0.9
    assert len(refused["series"]) == 7
    assert refused["series"][0]["value"] < 0.05


def test_what_servers_write_is_read(tmp_path: Path) -> None:
    rows = log_rows(400)
    kinds = [
        {"time": 1793491200, "user": 17, "feedback": "thumbs_up"},
        {"time": 1793491200123, "user": "u", "feedback": 1},
        {"time": "2026-11-01 10:00:00", "feedback": -1},
        {"time": "2026-11-01T10:00:00+08:00", "feedback": {"rating": "down"}},
        {"time": "1793491200.5", "feedback": ""},
        {"time": None, "response": [{"role": "assistant", "content": "抱歉，我无法提供该信息。"}]},
        {"time": True, "latency_ms": "fast", "feedback": "meh"},
    ]
    rows += [{**rows[0], "id": f"odd-{at}", **kind} for at, kind in enumerate(kinds)]
    text = "\ufeff" + "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text += "\r\n\r\n" + json.dumps(rows[3]) + "\n" + '{"id": "torn", "user'
    (tmp_path / "log.jsonl").write_bytes(text.encode("utf-8"))
    code, found = told("monitor", tmp_path / "log.jsonl")
    assert code == 0
    assert found["rows"] == 407
    assert found["notes"] == {
        "rows with the id of an earlier row": 1,
        "last line still being written": 1,
        "time that is no ISO time and no number": 1,
        "latency_ms that is no finite number": 1,
        "feedback that is neither up nor down": 1,
    }


def test_a_few_broken_rows_are_counted_and_named(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", log_rows(500))
    broken = log.read_text("utf-8").splitlines()
    broken[41] = "not json"
    log.write_text("\n".join(broken) + "\n", "utf-8")
    _, found = told("monitor", log)
    assert found["notes"] == {"rows unreadable": 1}
    assert found["first_unreadable"].endswith("log.jsonl, line 42: not JSON")


def test_folders_gzipped_files_and_spans_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tmp_path / "log.jsonl", log_rows())
    _, known = told("monitor", whole)
    folder = tmp_path / "logs"
    folder.mkdir()
    half = whole.read_bytes().splitlines(keepends=True)
    (folder / "a.jsonl").write_bytes(b"".join(half[:900]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b"".join(half[900:])))
    (folder / "notes.txt").write_text("no log")
    _, parted = told("monitor", folder)
    assert parted["metrics"] == known["metrics"]
    spans = lines.spans([whole])
    assert [s.end for s in spans] == [whole.stat().st_size]
    size = whole.stat().st_size
    for cut in (1, 100, 777, size // 3):
        parts = [
            lines.Span(whole, at, min(at + cut * 100, size)) for at in range(0, size, cut * 100)
        ]
        assert [line for part in parts for line, _ in lines.lines_of(part)] == half


EXPERIMENT = """
name = "round-2"
arms = { old = 0.5, new = 0.5 }
from = 2026-11-01
until = 2026-11-15T00:00:00Z
detect = 0.05
[primary]
of = "feedback"
is = "share"
[[secondary]]
of = "refused"
is = "share"
better = "lower"
[[guardrail]]
of = "latency_ms"
is = "p95"
better = "lower"
margin = "10%"
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT.replace("2026-11-01\n", "2026-11-01T00:00:00Z\n"))
    return path


def test_an_arm_that_is_better_is_called_better(tmp_path: Path, experiment: Path) -> None:
    page = tmp_path / "page.html"
    log = written(tmp_path / "log.jsonl", log_rows(4000, lift=0.12))
    code, found = told("ab", log, "--experiment", experiment, "--html", page)
    assert code == 0
    assert found["verdict"] == {"new": "better"}
    assert found["guardrails"][0]["verdict"] == "safe"
    assert "new is better" in page.read_text("utf-8")
    names = (str(tmp_path), found["experiment"], "new", "old", "feedback", "flags", "Holm")
    assert not english_left(ab_page(found, "zh"), *names)


def test_there_is_no_verdict_before_its_time(tmp_path: Path, experiment: Path) -> None:
    log = written(tmp_path / "log.jsonl", log_rows(4000, lift=0.2)[:3000])
    code, found = told("ab", log, "--experiment", experiment)
    assert code == 0
    assert found["verdict"] == {"new": "too early"}
    outcome = run("reward-model", "traffic", "ab", log, "--experiment", experiment)
    assert "too early" in outcome.stderr.lower()
    assert "better" not in outcome.stderr


def test_a_harmed_guardrail_stops_at_once(tmp_path: Path, experiment: Path) -> None:
    log = written(tmp_path / "log.jsonl", log_rows(4000, slower=1.6, lift=0.2)[:2000])
    code, found = told("ab", log, "--experiment", experiment)
    assert code == 1
    assert found["verdict"] == {"new": "guardrail harmed"}


def test_a_broken_split_has_no_verdict(tmp_path: Path, experiment: Path) -> None:
    lost = {f"user-{at}" for at in range(0, 1000, 3)}
    rows = [
        row
        for row in log_rows(4000, lift=0.2)
        if row["arm"] == "old" or row["user"] not in lost or "15T" in row["time"]
    ]
    code, found = told("ab", written(tmp_path / "log.jsonl", rows), "--experiment", experiment)
    assert code == 1
    assert found["verdict"] == {"new": "split broken"}


def test_users_in_two_arms_are_left_out_and_counted(tmp_path: Path, experiment: Path) -> None:
    rows = log_rows(4000)
    rows[0]["arm"] = "new" if rows[0]["arm"] == "old" else "old"
    user = rows[0]["user"]
    assert sum(row["user"] == user for row in rows) > 1
    _, found = told("ab", written(tmp_path / "log.jsonl", rows), "--experiment", experiment)
    assert found["notes"]["users in several arms, left out"] == 1


def test_the_plan_is_the_textbooks_where_users_have_one_row(
    tmp_path: Path, experiment: Path
) -> None:
    from statsmodels.stats.power import NormalIndPower

    rows = [{**row, "user": f"one-{at}"} for at, row in enumerate(log_rows(1000))]
    for at, row in enumerate(rows):
        row["feedback"] = "up" if at < 723 else "down"
    experiment.write_text(experiment.read_text().replace("detect = 0.05", "detect = 0.035"))
    log = written(tmp_path / "log.jsonl", rows)
    outcome = run(
        "reward-model", "traffic", "ab", log, "--experiment", experiment, "--plan", "--json", "-"
    )
    found = json.loads(outcome.stdout)
    assert found["users"]["new"] == pytest.approx(2459, abs=3)
    spread = (0.723 * 0.277 + 0.758 * 0.242) / 2
    power = NormalIndPower().power(0.035 / spread**0.5, found["users"]["new"], 0.05)
    assert power == pytest.approx(0.8, abs=0.002)


def test_thumbs_and_regenerated_answers_become_pairs(tmp_path: Path) -> None:
    def row(own: str, prompt: str, response: str, user: str, **more: Any) -> dict[str, Any]:
        return {"id": own, "prompt": prompt, "response": response, "user": user, "arm": "a", **more}

    rows = [
        row("1", "How is  revenue?", "up 12%", "u1", feedback="up", time=1793491200),
        row("2", "How is revenue?", "no idea", "u2", feedback="down"),
        row("3", "And costs?", "first", "u3"),
        row("4", "And costs?", "second", "u3", replaces="3"),
        row("5", "And costs?", "third", "u3", replaces="4"),
        row("6", "Margin?", "bad", "u4"),
        row("7", "Margin?", "still bad", "u4", replaces="6", feedback="down"),
        row("8", "Cash?", "both", "u5", feedback="up"),
        row("9", "Cash?", "both", "u6", feedback="down"),
        row("10", "Cash?", "unsaid", "u6"),
    ]
    log, out = written(tmp_path / "log.jsonl", rows), tmp_path / "pairs.jsonl"
    code, found = told("pairs", log, "--out", out)
    made = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert code == 0
    assert [(r["chosen"], r["rejected"], r["metadata"]["source"]) for r in made] == [
        ("up 12%", "no idea", "thumbs"),
        ("third", "second", "regenerated"),
    ]
    assert made[0]["metadata"]["chosen"] == {"id": "1", "arm": "a", "time": 1793491200}
    assert found["counts"]["thumbs on an answer that got both"] == 2
    assert found["counts"]["replacements that people turned from as well"] == 2
    told("pairs", log, "--out", out, "--format", "kto")
    kto = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [(r["completion"], r["label"]) for r in kto] == [
        ("up 12%", True),
        ("no idea", False),
        ("still bad", False),
    ]
    told("pairs", log, "--out", out, "--format", "completions")
    grouped = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [len(r["completions"]) for r in grouped] == [2, 3, 2, 2]
    assert parse_row(grouped[0], path=out, line=1).completions == ("up 12%", "no idea")


def test_one_user_is_no_preference_of_all(tmp_path: Path) -> None:
    rows = []
    for at in range(10):
        rows.append({"prompt": f"q{at}", "response": "good", "user": "angry", "feedback": "up"})
        rows.append({"prompt": f"q{at}", "response": "bad", "user": "angry", "feedback": "down"})
    out = tmp_path / "pairs.jsonl"
    _, found = told("pairs", written(tmp_path / "log.jsonl", rows), "--out", out)
    assert len(out.read_text("utf-8").splitlines()) == 3
    assert found["counts"]["left out: more than enough of one user"] == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("id,user,feedback\n1,u,up\n", "2 of 2 rows that cannot be read"),
        ('[{"id": 1}]\n', "a list, not an object"),
        ('[{"id": 1}, {"id": 2}]', "a list, not an object"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, words: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(text)
    outcome = run("reward-model", "traffic", "monitor", log)
    assert outcome.code == 2
    assert words in outcome.stderr


PAIR = {"prompt": "p", "chosen": "a", "rejected": "b", "metadata": {"prompt_id": "1"}}


def test_rows_of_another_kind_are_no_log(tmp_path: Path, experiment: Path) -> None:
    """Each command names what stands there and which keys it reads; an empty table says nothing."""
    path, out = written(tmp_path / "pairs.jsonl", [PAIR] * 30), tmp_path / "made.jsonl"
    page = tmp_path / "page.html"
    for args, key in (
        (("monitor", path, "--html", page), "latency_ms"),
        (("ab", path, "--experiment", experiment), "arm"),
        (("ab", path, "--experiment", experiment, "--plan"), "arm"),
        (("pairs", path, "--out", out), "replaces"),
    ):
        outcome = run("reward-model", "traffic", *args)
        told = " ".join(outcome.stderr.split())
        assert outcome.code == 2, args
        assert "30 rows and none of an answer" in told
        assert "pairs.jsonl, line 1: the keys prompt, chosen, rejected, metadata" in told
        assert key in told.split("expected")[1]
    assert not out.exists()
    assert not page.exists()


def test_a_few_rows_of_another_kind_are_left_out_counted_and_named(tmp_path: Path) -> None:
    rows = log_rows(300)
    mixed = [*rows[:5], {"event": "start", "level": "info"}, *rows[5:], {"event": "stop"}]
    code, found = told("monitor", written(tmp_path / "mixed.jsonl", mixed))
    _, clean = told("monitor", written(tmp_path / "clean.jsonl", rows))
    assert code == 0
    assert found["notes"] == {"rows of no answer": 2}
    assert found["first_unreadable"].endswith("mixed.jsonl, line 6: the keys event, level")
    assert found["metrics"] == clean["metrics"]


def test_what_is_odd_is_told_in_the_language_of_the_page(tmp_path: Path, experiment: Path) -> None:
    rows = log_rows(400)
    rows[3] |= {"time": "yesterday"}
    rows[4] |= {"feedback": "meh"}
    rows[5] |= {"latency_ms": "slow"}
    rows[6] |= {"flags": {"toxic": "perhaps"}}
    rows[7] |= {"id": rows[8]["id"]}
    rows[9] |= {"arm": "third"}
    log = written(tmp_path / "log.jsonl", [{"event": "start"}, *rows])
    log.write_text(log.read_text() + "no JSON\n" + '{"id": "row-4')
    names = (
        str(tmp_path),
        "latency_ms",
        "flags.toxic",
        "old",
        "new",
        "round-2",
        "line",
        "not JSON",
        "feedback",
        "Holm",
    )
    found = told("monitor", log)[1]
    assert len(found["notes"]) == 8
    assert not english_left(monitor_page(found, "zh"), *names)
    found = told("ab", log, "--experiment", experiment)[1]
    assert not english_left(ab_page(found, "zh"), *names)


def test_a_log_without_anything_that_is_measured_is_refused(
    tmp_path: Path, experiment: Path
) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text('[[metric]]\nof = "latency"\nis = "p95"\nmax = 9\n')
    log = written(tmp_path / "log.jsonl", [{"user": f"u{at}", "time": at + 1} for at in range(9)])
    outcome = run("reward-model", "traffic", "monitor", log, "--config", config)
    assert (outcome.code, "latency p95" in outcome.stderr) == (2, True)
    rows = [
        {"user": f"u{at}", "time": "2026-11-02", "arm": ("old", "new")[at % 2]} for at in range(9)
    ]
    outcome = run("reward-model", "traffic", "ab", written(log, rows), "--experiment", experiment)
    assert (outcome.code, "feedback share" in outcome.stderr) == (2, True)


def test_files_of_other_kinds_are_called_what_they_are(tmp_path: Path) -> None:
    text = json.dumps({"id": "1", "user": "u", "feedback": "up"}) + "\n"
    kinds = {
        "a.jsonl": (gzip.compress(text.encode()), "a gzipped file"),
        "b.jsonl.gz": (text.encode(), "a file that is not gzipped"),
        "c.jsonl.gz": (gzip.compress(text.encode() * 99)[:-9], "cannot be read to its end"),
        "d.jsonl": (text.encode("utf-16"), "UTF-16"),
        "e.parquet": (b"PAR1" + bytes(9), "a Parquet file"),
        "f.csv": (b"id,user\n1,u\n", "rows that cannot be read"),
    }
    for name, (content, words) in kinds.items():
        (tmp_path / name).write_bytes(content)
        for args in (("monitor",), ("pairs", "--out", tmp_path / "out.jsonl")):
            outcome = run("reward-model", "traffic", *args, tmp_path / name)
            assert outcome.code == 2, (name, args)
            assert words in outcome.stderr, (name, args)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('is = "share"\nmax', 'is = "median"\nmax', "is"),
        ("max = 0.05", "maximum = 0.05", "maximum"),
        ("", 'window = "soon"\n', "24h"),
        ('rise = "20%"', "rise = true", "5%"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text(MONITOR.replace(old, new, 1) if old else new + MONITOR)
    log = written(tmp_path / "log.jsonl", log_rows(20))
    outcome = run("reward-model", "traffic", "monitor", log, "--config", config)
    assert outcome.code == 2, outcome
    assert "monitor.toml" in outcome.stderr
    assert words in outcome.stderr


def test_a_drop_needs_a_baseline_and_an_arm_needs_users(tmp_path: Path, experiment: Path) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text(MONITOR)
    log = written(tmp_path / "log.jsonl", log_rows(40))
    outcome = run("reward-model", "traffic", "monitor", log, "--config", config)
    assert outcome.code == 2
    assert "--baseline" in outcome.stderr
    for row in (rows := log_rows(40)):
        row["arm"] = "old"
    outcome = run("reward-model", "traffic", "ab", written(log, rows), "--experiment", experiment)
    assert outcome.code == 2
    assert "no user in arm 'new'" in outcome.stderr


def test_the_log_is_never_the_output(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", log_rows(40))
    before = log.read_bytes()
    for args in (("monitor", log, "--json", log), ("pairs", log, "--out", log)):
        outcome = run("reward-model", "traffic", *args)
        assert outcome.code == 2
        assert "the input itself" in outcome.stderr
    assert log.read_bytes() == before
