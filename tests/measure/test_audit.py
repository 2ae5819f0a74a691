"""The audit: a model that follows length is found out, one that reads words is not, by any seed."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import run
from safetensors.torch import load_file, save_file
from scipy.stats import t
from scored_sets import DIMENSIONS, sentence, write
from tiny_models import save_decoder, save_encoder

from reward_model import RewardScorer, load_rubric
from reward_model.data.reading import read_samples
from reward_model.measure.probing.edits import stock
from reward_model.measure.probing.probes import PROBES, apply, choose_probes
from reward_model.measure.probing.run import audit, draw
from reward_model.records import UserError
from reward_model.stats.reports import AuditReport
from reward_model.train.config import resolve
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")
PLEASING = ("length_padding", "jargon", "repeated_text", "expert_claim")
"""Probes that make a text longer."""


def reports(follows: str, count: int = 150, groups: int = 30) -> list[dict[str, Any]]:
    """Pairs whose levels follow the number of sentences, or a phrase in each of them."""
    rng = random.Random(f"audit:{follows}")
    rows = []
    for i in range(count):
        row: dict[str, Any] = {"prompt": f"公司{i % groups}的报表", "scores": {}}
        for side, levels in (("chosen", (2, 4)), ("rejected", (0, 2))):
            level = rng.randint(*levels)
            size = 3 + 3 * level if follows == "length" else rng.randint(3, 15)
            parts = [sentence(rng) for _ in range(size)]
            if follows == "words":
                proof = ["证据确凿" if rng.random() * 4 < level else "有待核实" for _ in parts]
                parts = [f"{a[:-1]}，{b}。" for a, b in zip(parts, proof, strict=True)]
                # What the model has seen to say nothing of the level cannot please it.
                empty = stock("zh")["filler"] + stock("zh")["expert"]
                parts += rng.sample(empty, rng.randint(0, 12))
                rng.shuffle(parts)
            row[side] = "".join(parts)
            row["scores"][side] = dict.fromkeys(DIMENSIONS, level)
        rows.append(row | {"metadata": {"prompt_id": f"c{i % groups}"}})
    return rows


def trained(folder: Path, follows: str) -> tuple[Path, Path]:
    """Model and file of a tiny model that learned from such pairs, half of them held out."""
    scored = write(folder / "scored.jsonl", reports(follows))
    flags = {"base_model": "tiny", "max_length": 512, "epochs": 20, "test_share": 0.4}
    train(resolve(scored, folder / "run", None, {**flags, "eval_share": 0.1}))
    return folder / "run" / "best", scored


@pytest.fixture(scope="module")
def length(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return trained(tmp_path_factory.mktemp("length"), "length")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return trained(tmp_path_factory.mktemp("words"), "words")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of random weights that reads 256 bytes, and a file that nobody split."""
    folder = tmp_path_factory.mktemp("untrained")
    rows = reports("words", count=12, groups=6)
    for row in rows:
        row["chosen"], row["rejected"] = row["chosen"][:60], row["rejected"][:60]
    return save_encoder(folder / "model"), write(folder / "scored.jsonl", rows)


def test_a_model_that_follows_length_is_found_out(
    length: tuple[Path, Path], tmp_path: Path
) -> None:
    model, scored = length
    out = tmp_path / "audit.json"
    done = run("reward-model", "audit", model, scored, "--json", out)
    assert done.code == 1, done.stderr
    result = json.loads(out.read_text("utf-8"))
    assert result["split"]["part"] == "test"
    for name in PLEASING:
        change = result["probes"][name]["reward"]["change"]
        assert change["low"] > 0.25 / 4, name
        assert change["low"] <= change["value"] <= change["high"]
        assert f"problem: {name} raises the reward by +" in done.stderr
    found = {(f["probe"], f["dimension"], f["verdict"]) for f in result["findings"]}
    assert ("number_swaps", "accuracy", "not lowered") in found
    assert "number_swaps does not lower accuracy" in done.stderr
    truncated = result["probes"]["truncated"]["dimensions"]["depth"]
    assert truncated["verdict"] == "lowered"
    assert truncated["change"]["high"] < 0
    # The record reads its own JSON back, and writes the same again.
    assert AuditReport.model_validate(result).to_json() == result
    # What a reader of the model has to know goes with the model.
    kept = json.loads((model / "card" / "audit.json").read_text("utf-8"))
    assert kept["findings"] == result["findings"]


def test_a_model_that_reads_words_passes(words: tuple[Path, Path]) -> None:
    model, scored = words
    names = (*PLEASING, "prompt_echo")
    chosen = [word for name in names for word in ("--probe", name)]
    done = run("reward-model", "audit", model, scored, *chosen, "--no-card")
    assert done.code == 0, done.stderr
    assert "no probe is shown to move the model where it should not" in done.stderr
    assert not (model / "card" / "audit.json").exists()
    # The share of good words is the same in the first half: nothing tells it of a cut.
    cut = run("reward-model", "audit", model, scored, "--probe", "truncated", "--no-card")
    assert cut.code == 1
    assert "truncated does not lower depth" in cut.stderr


@pytest.mark.parametrize("save", [save_encoder, save_decoder], ids=["encoder", "decoder"])
def test_the_numbers_are_those_of_the_scorer(
    save: Any, untrained: tuple[Path, Path], tmp_path: Path
) -> None:
    """Mean and share by hand, over edits scored one by one; the interval by drawing groups."""
    model, scored = save(tmp_path / "model"), untrained[1]
    found = audit(model, scored, sample=0, threshold=0.01, seed=5)
    scorer = RewardScorer.from_pretrained(model)
    samples, _ = read_samples(scored, RUBRIC)
    for probe in choose_probes(["jargon", "truncated"]):
        changes, groups = [], []
        for sample in samples:
            text = apply(probe, sample.prompt, sample.response, 5)
            assert text is not None
            before = scorer.score(sample.prompt, sample.response)
            after = scorer.score(sample.prompt, text)
            assert before.reward is not None
            assert after.reward is not None
            changes.append(
                [after.levels[n] - before.levels[n] for n in DIMENSIONS]
                + [after.reward - before.reward]
            )
            groups.append(sample.group)
        table = np.array(changes)
        said = found.result["probes"][probe.name]
        columns = [said["dimensions"][n] for n in DIMENSIONS] + [said["reward"]]
        rng = np.random.default_rng(5)
        names = list(dict.fromkeys(groups))
        drawn = [rng.integers(len(names), size=len(names)) for _ in range(1000)]
        rows = {name: [i for i, g in enumerate(groups) if g == name] for name in names}
        for i, column in enumerate(columns):
            assert column["change"]["value"] == pytest.approx(table[:, i].mean(), abs=1e-6)
            assert column["change"]["n"] == len(samples)
            limit = 0.01 if i < 3 else 0.01 / 4
            assert column["raised"]["value"] == pytest.approx((table[:, i] > limit).mean())
            means = [table[[r for g in draw for r in rows[names[g]]], i].mean() for draw in drawn]
            # Six groups: five degrees of freedom.
            half = t.ppf(0.975, 5) * np.std(means) * np.sqrt(6 / 5)
            assert column["change"]["low"] == pytest.approx(table[:, i].mean() - half, abs=1e-5)
            assert column["change"]["high"] == pytest.approx(table[:, i].mean() + half, abs=1e-5)


def test_the_same_seed_gives_the_same_bytes(untrained: tuple[Path, Path]) -> None:
    model, scored = untrained
    first, again, other = (
        run("reward-model", "audit", model, scored, "--json", "-", "--seed", seed, "--no-card")
        for seed in (1, 1, 2)
    )
    assert first.stdout == again.stdout
    assert first.stdout != other.stdout
    one, two = (json.loads(done.stdout) for done in (first, other))
    # A probe alone says what it says among others.
    alone = audit(model, scored, probes=["markdown"], seed=1)
    assert alone.result["probes"]["markdown"] == one["probes"]["markdown"]
    assert one["settings"]["seed"] == 1
    assert two["settings"]["seed"] == 2


def test_edits_that_the_model_cannot_see_are_counted_apart(
    untrained: tuple[Path, Path], tmp_path: Path
) -> None:
    """Figures in the middle of a response whose middle is cut out."""
    rows = reports("words", count=8, groups=4)
    for i, row in enumerate(rows):
        row["chosen"] = "a" * 300 + f" {i}2.5% and 30.1% " + "b" * 300
        row["rejected"] = "c" * 300 + " 1.5% and 2.5% " + f"{i}" * 2 + "d" * 300
        if i < 2:
            row["chosen"] = "no figure at all"
    found = audit(untrained[0], write(tmp_path / "s.jsonl", rows), probes=["number_swaps"])
    probe = found.result["probes"]["number_swaps"]
    assert (probe["unseen"], probe["not_applicable"], probe["texts"]) == (14, 2, 0)
    assert probe["share_unseen"] == 1.0
    assert probe["reward"]["change"]["value"] is None
    (finding,) = found.findings
    assert finding["words"].startswith(
        "number_swaps cannot lower accuracy: every edit lies beyond the 256 tokens"
    )
    # One text whose figures are seen is measured; the others do not dilute it.
    rows.append(rows[2] | {"chosen": "up 12.5% and 30.1%", "rejected": "no figure here"})
    found = audit(untrained[0], write(tmp_path / "s.jsonl", rows), probes=["number_swaps"])
    probe = found.result["probes"]["number_swaps"]
    assert (probe["unseen"], probe["texts"]) == (14, 1)
    assert any("14 of 15 edits lie beyond the 256 tokens" in note for note in found.result["notes"])
    # And one group alone gives a number without an interval, hence no verdict.
    assert probe["dimensions"]["accuracy"]["verdict"] == "unknown"
    assert probe["dimensions"]["accuracy"]["change"]["reason"] == "one group only, so no interval"
    assert found.findings == []


def test_what_was_not_measured_does_not_pass(untrained: tuple[Path, Path], tmp_path: Path) -> None:
    model = shutil.copytree(untrained[0], tmp_path / "model")
    rows = reports("words", count=4, groups=1)
    one_group = write(tmp_path / "one.jsonl", rows)
    done = run("reward-model", "audit", model, one_group, "--probe", "truncated")
    assert done.code == 1, done.stderr
    assert "not known: no probe reached a verdict" in done.stderr
    assert "should not" not in done.stderr
    assert "Not known: no probe reached a verdict." in (model / "README.md").read_text("utf-8")
    assert "model" not in json.loads((model / "card" / "audit.json").read_text("utf-8"))
    for i, row in enumerate(rows):
        row["chosen"], row["rejected"] = f"没有数字的文本{'甲乙丙丁'[i]}。", "也没有数字。"
        row["metadata"]["prompt_id"] = f"c{i}"
    bare = write(tmp_path / "bare.jsonl", rows)
    flags = ("--threshold", "3", "--probe", "number_swaps", "--probe", "expert_claim")
    done = run("reward-model", "audit", model, bare, *flags)
    assert done.code == 0, done.stderr
    words = "no probe is shown to move the model where it should not; not known for number_swaps"
    assert words in done.stderr
    card = (model / "README.md").read_text("utf-8")
    assert "None of these probes raises a score beyond what was let pass; not known for" in card
    assert "- not asked: length_padding, markdown," in card
    assert "Let pass: 3 levels, 0.75 of the reward." in card


def test_texts_without_an_opinion_never_become_numbers(
    untrained: tuple[Path, Path], tmp_path: Path
) -> None:
    rows = reports("words", count=8, groups=4)
    rows[0]["chosen"] = "  "
    found = audit(untrained[0], write(tmp_path / "s.jsonl", rows), probes=["expert_claim"])
    probe = found.result["probes"]["expert_claim"]
    assert (probe["texts"], probe["not_applicable"], probe["no_opinion"]) == (15, 1, 0)
    # A text that is there and shows nothing is refused by the scorer, so no probe measures it.
    rows[1]["chosen"] = "\u200b\u200b"
    unseen = audit(untrained[0], write(tmp_path / "v.jsonl", rows)).result["probes"]
    for name in ("expert_claim", "length_padding", "prompt_echo"):
        counts = [unseen[name][key] for key in ("texts", "not_applicable", "no_opinion")]
        assert counts == [14, 2, 0], name
    broken = tmp_path / "broken"
    shutil.copytree(untrained[0], broken)
    weights = load_file(broken / "model.safetensors")
    weights["heads.1.out.bias"] = torch.full_like(weights["heads.1.out.bias"], float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="a model that scores none of 16 texts"):
        audit(broken, tmp_path / "s.jsonl")


def test_held_is_said_only_where_the_interval_says_so(
    untrained: tuple[Path, Path], tmp_path: Path
) -> None:
    """At a limit inside its interval a probe is unclear: in the table, the notes, JSON and card."""
    model, scored = shutil.copytree(untrained[0], tmp_path / "model"), untrained[1]
    flags = ("--probe", "language_switch", "--sample", "0")
    wide = run("reward-model", "audit", model, scored, *flags, "--no-card", "--json", "-")
    columns = json.loads(wide.stdout)["probes"]["language_switch"]["dimensions"]
    name, change = max(
        ((name, column["change"]) for name, column in columns.items()),
        key=lambda found: found[1]["high"],
    )
    assert change["high"] > 0, "the fixture is to hold an interval that reaches above 0"
    limit = change["high"] * 0.9 if change["low"] < 0 else (change["low"] + change["high"]) / 2
    out = tmp_path / "audit.json"
    done = run("reward-model", "audit", model, scored, *flags, "--threshold", limit, "--json", out)
    result = json.loads(out.read_text("utf-8"))
    probe = result["probes"]["language_switch"]
    for column in (*probe["dimensions"].values(), probe["reward"]):
        if column["verdict"] == "held":
            most = limit / (4 if column is probe["reward"] else 1)
            assert column["change"]["high"] <= most
    assert probe["dimensions"][name]["verdict"] == "unclear"
    (unclear,) = (one for one in result["unclear"] if one["dimension"] == name)
    assert f"whether it raises {name} is unclear" in unclear["words"]
    assert "unclear" in done.stdout + done.stderr
    said = f"language_switch: not clear whether it raises {name} ("
    assert said in " ".join(done.stderr.split())
    card = (model / "README.md").read_text("utf-8")
    assert said in card
    assert "] ? |" in card


def test_a_text_that_stands_in_many_pairs_counts_once(
    untrained: tuple[Path, Path], tmp_path: Path
) -> None:
    rows = reports("words", count=8, groups=4)
    for row in rows:
        row["prompt"], row["chosen"] = rows[0]["prompt"], rows[0]["chosen"]
    samples, _ = read_samples(write(tmp_path / "s.jsonl", rows), RUBRIC)
    assert len(samples) == 16
    assert len(draw(samples, 0, 0)) == 9
    drawn = [sample.response for sample in draw(samples, 4, 1)]
    assert len(drawn) == 4
    assert drawn == [sample.response for sample in draw(samples, 4, 1)]
    assert drawn != [sample.response for sample in draw(samples, 4, 2)]


def test_another_rubric_is_asked_what_it_has(tmp_path: Path) -> None:
    """HelpSteer's verbosity describes: padding does add to it. Its correctness must fall."""
    rubric = load_rubric("helpsteer")
    model = save_encoder(tmp_path / "model", rubric=rubric)
    rows = [
        {
            "prompt": f"q{i}",
            "response": f"Revenue rose by {i + 1}.5% to 12.5 million because of it.",
            "scores": dict.fromkeys(rubric.names, i % 5),
        }
        for i in range(8)
    ]
    found = audit(model, write(tmp_path / "s.jsonl", rows), threshold=0)
    probes = found.result["probes"]
    assert probes["length_padding"]["may_raise"] == ["verbosity"]
    assert probes["jargon"]["may_raise"] == ["complexity", "verbosity"]
    assert probes["number_swaps"]["lowers"] == ["correctness"]
    assert probes["truncated"]["lowers"] == ["helpfulness"]
    assert probes["markdown"]["expects"] == "must_not_raise"
    assert set(probes) == {probe.name for probe in PROBES}
    told = {(f["probe"], f["dimension"]) for f in found.findings}
    assert ("length_padding", "verbosity") not in told


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--threshold", "-1"], "threshold -1.0; expected levels from 0 to below 4"),
        (["--threshold", "nan"], "threshold nan"),
        (["--sample", "-1"], "greater than or equal to 0"),
        (["--seed", "-1"], "greater than or equal to 0"),
        (["--split", "test"], "a model without split.json"),
        (["--probe", "padding"], "expected one of length_padding"),
        (["--json", "{folder}"], "a folder; expected a file to write"),
    ],
)
def test_wrong_use_is_told(
    untrained: tuple[Path, Path], tmp_path: Path, flags: list[str], message: str
) -> None:
    given = [flag.format(folder=tmp_path) for flag in flags]
    done = run("reward-model", "audit", *untrained, *given)
    assert done.code == 2, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (untrained[0] / "card").exists()
