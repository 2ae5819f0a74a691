"""`datagen`: balanced design, checked replies, resumable pairs, wrong input in words."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from commands import run, spawn
from llm_server import LLMServer

from datagen.acceptance import problem
from datagen.companies import shipped
from datagen.design import Slot, plan
from datagen.planting import plant_share
from datagen.settings import Settings, resolve
from reward_model.llm import Reply
from reward_model.records import UserError, read_pairs
from reward_model.rubrics import load_rubric

RUBRIC = load_rubric("financial_report")
FINE = "2021年营业收入为12.3亿元，同比增长5.0%，主要由于订单增加。" * 5


def design(**options: object) -> list[Slot]:
    return plan(Settings.model_validate(options), RUBRIC, shipped())


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---- the design


def test_every_factor_is_balanced_alone_and_in_pairs() -> None:
    slots = design(pairs=500, neutral_share=0, llm=["offline", "openai:a"], language="both")
    factors = {
        "field": lambda s: s.company.field,
        "edit": lambda s: s.edit,
        "severity": lambda s: s.severity,
        "focus": lambda s: s.focus,
        "model": lambda s: s.model,
        "language": lambda s: s.language,
    }
    levels = {"field": 5, "edit": 5, "severity": 4, "focus": 5, "model": 2, "language": 2}
    for name, read in factors.items():
        counts = Counter(map(read, slots)).values()
        assert len(counts) == levels[name]
        assert max(counts) - min(counts) <= 4
    names = list(factors)
    for one, two in ((a, b) for a, b in product(names, names) if a < b):
        cells = Counter((factors[one](s), factors[two](s)) for s in slots)
        assert len(cells) == levels[one] * levels[two]
        mean = len(slots) / len(cells)
        assert max(cells.values()) <= mean + 6
        assert min(cells.values()) >= mean - 6


def test_controls_are_spread_over_fields() -> None:
    slots = design(pairs=200, neutral_share=0.15)
    neutral = Counter(s.company.field for s in slots if s.kind == "neutral")
    assert sum(neutral.values()) == 30
    assert max(neutral.values()) - min(neutral.values()) <= 1
    assert all(s.severity == 0 and not s.planted for s in slots if s.kind == "neutral")


def test_a_company_keeps_to_one_language_and_its_share() -> None:
    slots = design(pairs=600, language="both", pairs_per_company=3)
    languages: dict[str, set[str]] = {}
    for slot in slots:
        languages.setdefault(slot.company.id, set()).add(slot.language)
    assert all(len(found) == 1 for found in languages.values())
    assert max(Counter(s.company.id for s in slots).values()) <= 3
    assert any(s.company.synthetic for s in slots)


def test_real_companies_come_first() -> None:
    assert not any(s.company.synthetic for s in design(pairs=40))


def test_the_same_seed_is_the_same_design() -> None:
    assert design(pairs=60, seed=3) == design(pairs=60, seed=3)
    assert design(pairs=60, seed=3) != design(pairs=60, seed=4)


# ---- what is accepted


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("", "stop", "empty"),
        (FINE, "length", "truncated"),
        ("抱歉，我无法协助完成这项请求。", "stop", "refusal"),
        ("好。", "stop", "too short"),
        (FINE + "</report-0a1b2c3d>", "stop", "section boundary leaked"),
        ("以下是改写后的报告：\n" + FINE, "stop", "preamble or note"),
        (FINE + "（按质量侧重撰写）", "stop", "instruction leaked"),
        (FINE + "浅化深度", "stop", "instruction leaked"),
        ("Revenue rose by 5.0% in 2021 because orders grew. " * 5, "stop", "wrong language"),
        (FINE.replace("。", "。\n"), "stop", "same as the original"),
        (FINE * 3, "stop", "length out of range"),
    ],
)
def test_a_bad_reply_has_a_reason(text: str, finish: str, why: str) -> None:
    reply = Reply(text=text, model="m", finish_reason=finish)
    found = problem(reply, "zh", original=FINE, length_ratio=(0.5, 1.5), names=("浅化深度",))
    assert found == why


def test_a_good_edit_is_accepted() -> None:
    reply = Reply(text="```markdown\n" + FINE.replace("主要由于", "因为") + "\n```", model="m")
    assert problem(reply, "zh", original=FINE, length_ratio=(0.5, 1.5)) is None


def test_planted_errors_are_where_the_record_says() -> None:
    prompt = (
        "单位：万元\n| 项目 | 2021年 | 2020年 |\n|---|---|---|\n| 营业收入 | 1,234 | 1,000 |\n"
        "| 营业成本 | 900 | 800 |\n| 净利润 | 150 | 120 |"
    )
    report = (
        "2021年营业收入为1,234万元，同比增长23.4%。2021年营业成本为900万元，2020年为800万元。"
        "2021年净利润为150万元，同比增长25.0%。"
    )
    text, planted = plant_share(prompt, report, 0.6, "7")
    assert len(planted) >= 3
    for error in planted:
        start, end = error["where"]
        assert text[start:end] == error["now"] != error["was"]


# ---- the command


def test_pairs_are_records_with_everything_known(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    done = run("datagen", "pairs", "--out", out, "--pairs", 20, "--language", "both", "--seed", 2)
    assert done.code == 0, done.stderr
    assert "severity 1" in done.stderr
    pairs = list(read_pairs(out))
    assert len(pairs) == 20
    assert len({p.id for p in pairs}) == 20
    for pair in pairs:
        assert pair.chosen != pair.rejected
        meta = pair.metadata
        assert meta.gold_metadata is not None
        assert meta.defect_metadata is not None
        assert meta.gold_metadata.model == meta.defect_metadata.model == "offline"
        assert meta.gold_metadata.temperature == meta.defect_metadata.temperature
        assert meta.gold_metadata.quality_focus in {f.name for f in RUBRIC.focuses}
        instruction = RUBRIC.focus(str(meta.gold_metadata.quality_focus)).instruction
        assert isinstance(instruction, dict)
        assert instruction[str(meta.language)] not in str(pair.prompt)
        if meta.kind == "degraded":
            name = str(meta.defect_metadata.degradation_type)
            assert meta.defect_metadata.targets == RUBRIC.degradation(name).targets
            assert meta.defect_metadata.severity in {1, 2, 3, 4}
            for error in meta.defect_metadata.planted:
                assert str(pair.rejected)[slice(*error.where)] == error.now
        else:
            assert meta.defect_metadata.degradation_type is None
    config = json.loads((tmp_path / "pairs.jsonl.config.json").read_text(encoding="utf-8"))
    assert config["settings"]["seed"] == 2
    calls = {line["key"] for line in rows(tmp_path / "pairs.jsonl.calls.jsonl") if "key" in line}
    assert {str(p.metadata.gold_metadata.call) for p in pairs if p.metadata.gold_metadata} <= calls


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        out = tmp_path / f"{name}.jsonl"
        assert run("datagen", "pairs", "--out", out, "--pairs", 8, "--seed", 5).code == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    again = run("datagen", "pairs", "--out", tmp_path / "a.jsonl", "--pairs", 8, "--seed", 5)
    assert again.code == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_killed_and_run_again_gives_the_same_file(tmp_path: Path) -> None:
    options = ("--pairs", 24, "--seed", 1, "--max-concurrency", 2)
    whole = tmp_path / "whole.jsonl"
    assert run("datagen", "pairs", "--out", whole, *options).code == 0
    out = tmp_path / "killed.jsonl"
    for least in (1, 6, 14):
        process = spawn("datagen", "pairs", "--out", out, *options)
        limit = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < limit:
            if out.exists() and out.read_bytes().count(b"\n") >= least:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with out.open("ab") as file:  # what a kill in the middle of a write leaves
            file.write(b'{"id": "torn')
    done = run("datagen", "pairs", "--out", out, *options)
    assert done.code == 0, done.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_other_options_do_not_mix_into_a_file(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    assert run("datagen", "pairs", "--out", out, "--pairs", 5).code == 0
    before = out.read_bytes()
    done = run("datagen", "pairs", "--out", out, "--pairs", 5, "--seed", 9)
    assert done.code == 2
    assert "seed 0 (now 9)" in done.stderr
    assert out.read_bytes() == before


def test_own_prompts_and_statements_are_used(tmp_path: Path) -> None:
    table = (
        "单位：万元\n\n| 项目 | 2021年 | 2020年 |\n|---|---|---|\n| 营业收入 | 1200 | 1000 |\n"
        "| 营业成本 | 900 | 800 |\n| 净利润 | 150 | 120 |\n| 资产总计 | 3000 | 2500 |\n"
        "| 负债合计 | 1500 | 1100 |\n| 经营活动产生的现金流量净额 | 130 | 160 |"
    )
    own = tmp_path / "own.jsonl"
    own.write_text(
        json.dumps({"company": "甲公司", "field": "科技业", "prompt": f"请分析。\n{table}"}) + "\n"
    )
    out = tmp_path / "pairs.jsonl"
    done = run(
        "datagen",
        "pairs",
        "--out",
        out,
        "--statements",
        own,
        "--fields",
        "technology",
        "--pairs",
        3,
    )
    assert done.code == 0, done.stderr
    pairs = list(read_pairs(out))
    assert {p.prompt for p in pairs} == {f"请分析。\n{table}"}
    assert {p.group for p in pairs} == {"甲公司"}
    assert "甲公司" in str(pairs[0].chosen)


def test_fields_and_language_follow_from_own_statements(tmp_path: Path) -> None:
    table = (
        "Unit: USD million\n\n| Item | FY2021 | FY2020 |\n|---|---|---|\n"
        "| Revenue | 1200 | 1000 |\n| Operating cost | 900 | 800 |\n"
        "| Net profit | 150 | 120 |\n| Total assets | 3000 | 2500 |\n"
        "| Total liabilities | 1500 | 1100 |\n| Net cash from operating activities | 130 | 160 |"
    )
    own = tmp_path / "own.md"
    own.write_text(f"# Acme | finance\n\n{table}\n", "utf-8")
    out = tmp_path / "pairs.jsonl"
    done = run("datagen", "pairs", "--out", out, "--statements", own, "--pairs", 3)
    assert done.code == 0, done.stderr
    assert {(p.metadata.field, p.metadata.language) for p in read_pairs(out)} == {("金融业", "en")}
    done = run(
        "datagen", "pairs", "--out", out, "--statements", own, "--pairs", 3, "--language", "zh"
    )
    assert done.code == 2
    assert "no company of 金融业 in zh" in done.stderr


def test_the_table_leaves_out_what_is_not_made(tmp_path: Path) -> None:
    options = ("--pairs", 20, "--degradations", "shallow_depth", "--neutral-share", 0)
    done = run("datagen", "pairs", "--out", tmp_path / "p.jsonl", *options, "--dry-run")
    assert "shallow_depth" in done.stderr
    assert "generic_wording" not in done.stderr
    assert "neutral" not in done.stderr


def test_dry_run_calls_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    done = run(
        "datagen", "pairs", "--out", out, "--pairs", 30, "--llm", "openai:gpt-4o-mini", "--dry-run"
    )
    assert done.code == 0, done.stderr
    assert "90 calls" in done.stderr
    assert "$" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_takes_off_what_the_ledger_has(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    args = ("datagen", "pairs", "--out", out, "--pairs", 4)
    assert run(*args).code == 0
    ledger = tmp_path / "pairs.jsonl.calls.jsonl"
    before = ledger.read_bytes()
    told = run(*args, "--dry-run").stderr
    calls = len(before.splitlines())
    assert f"{calls} of 12 answered already" in told
    assert ledger.read_bytes() == before
    ledger.write_bytes(b"")
    assert "0 of 12 answered already" in run(*args, "--dry-run").stderr


def test_options_from_a_file_flags_win(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('fields = ["finance"]\nn-pairs-per-field = 3\nseed = 4\n')
    settings = resolve({"seed": 7}, config)
    assert (settings.fields, settings.total, settings.seed) == (("金融业",), 3, 7)
    config.write_text('n_pairs = 3\nlanguage = "fr"\n')
    with pytest.raises(UserError, match=r"language: 'fr'.*unknown key n_pairs"):
        resolve({}, config)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fields", "mining"), "unknown field 'mining'"),
        (("--language", "fr"), "language: 'fr'"),
        (("--llm", "gpt"), "unknown model 'gpt'"),
        (("--pairs", "0"), "pairs: 0"),
        (("--neutral-share", "2"), "neutral_share: 2.0"),
        (("--statements", "none.csv"), "no such file"),
        (("--statements", "."), "."),
        (("--rubric", "helpsteer"), "rubric helpsteer without focuses and degradations"),
        (("--rubric", "none"), "unknown rubric 'none'"),
        (("--config", "none.toml"), "none.toml"),
        (("--frameworks", "none"), "none"),
    ],
)
def test_wrong_input_is_told_and_nothing_written(
    tmp_path: Path, options: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("datagen", "pairs", "--out", "pairs.jsonl", *options)
    assert done.code == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    assert run("datagen", "pairs", "--out", tmp_path, "--pairs", 2).code == 2
    (tmp_path / "file").write_text("x")
    done = run("datagen", "pairs", "--out", tmp_path / "file" / "pairs.jsonl", "--pairs", 2)
    assert done.code == 2
    assert "Traceback" not in done.stderr


def test_a_model_writes_frameworks_and_pairs_use_them(tmp_path: Path) -> None:
    points = "先看毛利率的变动及其驱动因素。" * 12
    text = f"# 框架\n\n## 共同要点\n\n{points}\n\n## 视角：股东\n\n看分红。"
    folder, out = tmp_path / "frameworks", tmp_path / "pairs.jsonl"
    options = ("frameworks", "--out", folder, "--llm", "openai:m", "--fields", "finance,services")
    with LLMServer(answer=lambda messages: text) as server:
        done = run("datagen", *options, "--base-url", server.url)
        assert done.code == 0, done.stderr
        assert "2 written" in done.stderr
        assert run("datagen", *options, "--base-url", server.url).code == 0
        assert server.paid == 2
        done = run("datagen", *options, "--base-url", server.url, "--language", "en")
        assert done.code == 3
        assert "金融业 en: wrong language, try another model or --seed" in done.stderr
    own = ("--frameworks", folder, "--pairs", 2)
    done = run("datagen", "pairs", "--out", out, *own, "--fields", "finance,services")
    assert done.code == 0, done.stderr
    assert all("先看毛利率的变动" in str(pair.prompt) for pair in read_pairs(out))
    done = run("datagen", "pairs", "--out", out, *own)
    assert done.code == 2
    assert "no framework of 制造业" in done.stderr


def test_frameworks_copy_what_ships_and_keep_what_is_there(tmp_path: Path) -> None:
    kept = tmp_path / "zh" / "finance.md"
    kept.parent.mkdir()
    kept.write_text("mine")
    done = run("datagen", "frameworks", "--out", tmp_path, "--language", "both")
    assert done.code == 0, done.stderr
    assert "ready frameworks ship" in done.stderr
    assert len(list(tmp_path.glob("*/*.md"))) == 10
    assert kept.read_text() == "mine"
    assert run("datagen", "frameworks", "--out", kept).code == 2
