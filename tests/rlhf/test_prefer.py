"""`reward-model prefer`: which pairs come out, what is left out and why, and TRL trains on it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_encoder

from reward_model import RewardScorer
from reward_model.records import UserError
from reward_model.rlhf.preferences.card import card
from reward_model.rlhf.preferences.index import read_index
from reward_model.rlhf.preferences.make import run_prefer
from reward_model.rlhf.preferences.options import PreferOptions
from reward_model.rlhf.preferences.pairs import (
    Candidate,
    Filters,
    kto_by_threshold,
    preferences,
    reward_sd,
    usable,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("model") / "best")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def completions(prompts: int, of_each: int = 4) -> list[dict[str, Any]]:
    texts = ["营业收入同比增长12.3%。", "Revenue rose.", "Margins fell on costs.", "毛利率下降。"]
    return [
        {
            "prompt": f"分析公司 {i}",
            "completions": [f"{texts[j % 4]} {i}{j}" for j in range(of_each)],
        }
        for i in range(prompts)
    ]


def prefer(*args: object) -> dict[str, Any]:
    done = run("reward-model", "prefer", *args, "--json", "-")
    assert done.code == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_chosen_and_rejected_are_the_ends_that_the_scorer_sees(model: Path, tmp_path: Path) -> None:
    rows = completions(4)
    rows[0]["completions"] += ["", rows[0]["completions"][0] + " "]
    out = tmp_path / "prefs"
    result = prefer(model, write(tmp_path / "c.jsonl", rows), "--out", out)
    scorer = RewardScorer.from_pretrained(model)
    for asked, made in zip(rows, read(out), strict=True):
        texts = [text for text in asked["completions"] if text]
        rewards = [
            s.reward or 0.0 for s in scorer.score_batch([asked["prompt"]] * len(texts), texts)
        ]
        assert made["prompt"] == asked["prompt"]
        assert made["chosen"] == texts[rewards.index(max(rewards))]
        assert made["rejected"] == texts[rewards.index(min(rewards))]
        assert made["margin"] == pytest.approx(max(rewards) - min(rewards), abs=2e-6)
    assert result["counts"]["dropped_completions"] == {
        "identical to an earlier one": 1,
        "the response is empty": 1,
    }
    # Rows of a completion each are the same input.
    flat = [
        {"prompt": row["prompt"], "response": text} for row in rows for text in row["completions"]
    ]
    random.Random(0).shuffle(flat)
    prefer(model, write(tmp_path / "flat.jsonl", flat), "--out", tmp_path / "again")
    assert {r["prompt"]: r for r in read(tmp_path / "again")} == {
        r["prompt"]: {**r} for r in read(out)
    }


def test_scored_rows_need_no_model_and_give_the_same(model: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": row["prompt"], "response": text}
        for row in completions(3)
        for text in row["completions"]
    ]
    path, scored = write(tmp_path / "c.jsonl", rows), tmp_path / "scored.jsonl"
    assert run("reward-model", "score", model, path, "--out", scored).code == 0
    for extra in ([], ["--z", "0.001"], ["--format", "kto", "--threshold", "0.5"]):
        prefer(scored, "--out", tmp_path / "a", *extra)
        prefer(model, path, "--out", tmp_path / "b", *extra)
        assert read(tmp_path / "a") == read(tmp_path / "b")
    Path(f"{scored}.config.json").unlink()
    done = run("reward-model", "prefer", scored, "--out", tmp_path / "c", "--z", "1")
    assert done.code == 2
    assert "which says how dimensions weigh" in done.stderr


def test_a_stopped_run_goes_on_and_other_filters_need_no_scoring(
    model: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "c.jsonl", completions(40))
    whole, out = tmp_path / "whole", tmp_path / "out"
    prefer(model, path, "--out", whole)
    prefer(model, path, "--out", out)
    kept = out / "scores.jsonl"
    lines = kept.read_bytes().splitlines(keepends=True)
    kept.write_bytes(b"".join(lines[:17]) + lines[17][:30])
    (out / "train.jsonl").unlink()
    prefer(model, path, "--out", out)
    for name in ("train.jsonl", "scores.jsonl", "README.md", "config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    weights = model / "model.safetensors"
    hidden = weights.rename(model / "elsewhere.safetensors")
    try:
        done = run("reward-model", "prefer", model, path, "--out", out, "--pairs", "all")
        assert done.code == 2, "the weights are part of what the scores belong to"
        assert "scores with another model" in done.stderr
    finally:
        hidden.rename(weights)
    assert prefer(model, path, "--out", out, "--pairs", "all")["counts"]["written"] > 40


def test_a_run_that_was_killed_before_its_first_score_starts(model: Path, tmp_path: Path) -> None:
    path, out = write(tmp_path / "c.jsonl", completions(2)), tmp_path / "out"
    out.mkdir()
    (out / "scores.jsonl").touch()
    assert prefer(model, path, "--out", out)["counts"]["written"] == 2
    # And one that was killed between the rows and their configuration.
    (out / "config.json").unlink()
    (out / "README.md").unlink()
    assert prefer(model, path, "--out", out)["counts"]["written"] == 2


def judged(chosen: int | None, rejected: int, **more: Any) -> dict[str, Any]:
    names = ("depth", "professionalism", "accuracy")
    return {
        "prompt": "p",
        "chosen": f"good {chosen}{rejected}{more}",
        "rejected": f"bad {chosen}{rejected}{more}",
        "scores": {
            "chosen": dict.fromkeys(names, chosen),
            "rejected": dict.fromkeys(names, rejected),
        },
        **more,
    }


def test_judged_pairs_are_filtered_by_gap(tmp_path: Path) -> None:
    rows = [
        judged(4, 2),
        judged(4, 3),
        judged(3, 3),
        judged(2, 3),
        judged(None, 3),
        judged(4, 4, metadata={"kind": "neutral"}),
    ]
    result = prefer(
        write(tmp_path / "s.jsonl", rows), "--out", tmp_path / "o", "--min-margin", "0.3"
    )
    assert [(r["chosen"], r["margin"]) for r in read(tmp_path / "o")] == [("good 42{}", 0.5)]
    assert result["counts"]["dropped_pairs"] == {
        "a tie": 1,
        "fewer than two completions to compare": 1,
        "margin below --min-margin": 1,
        "the judge prefers the rejected side": 1,
    }
    assert result["counts"]["dropped_completions"] == {"a level is missing": 1}
    assert result["counts"]["dropped_rows"] == {"neutral pairs, which are controls": 1}
    done = run(
        *("reward-model", "prefer", tmp_path / "s.jsonl", "--out", tmp_path / "o"),
        *("--min-margin", "0.9"),
    )
    assert done.code == 1
    assert "nothing is left" in done.stderr
    assert len(read(tmp_path / "o")) == 1, "what was there before stays"


def test_the_spread_of_the_judge_counts_as_uncertainty(tmp_path: Path) -> None:
    def spread(sd: float) -> dict[str, Any]:
        row = judged(4, 3)
        by = dict.fromkeys(row["scores"]["chosen"], sd)
        row["scores"]["judge"] = {"samples": 3, "spread": {"chosen": by, "rejected": by}}
        return {**row, "prompt": f"p{sd}"}

    path = write(tmp_path / "s.jsonl", [spread(0.1), spread(2.0), judged(4, 3)])
    result = prefer(path, "--out", tmp_path / "o", "--z", "1")
    assert [row["prompt"] for row in read(tmp_path / "o")] == ["p0.1"]
    assert result["counts"]["dropped_pairs"] == {
        "margin within the uncertainty": 1,
        "uncertainty not known": 1,
    }


def test_kto_labels_by_threshold_and_from_pairs(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", completions(5))
    prefer(model, path, "--out", tmp_path / "t", "--format", "kto", "--threshold", "0.5")
    rows = read(tmp_path / "t")
    scorer = RewardScorer.from_pretrained(model)
    assert len(rows) == 20
    for row in rows:
        reward = scorer.score(row["prompt"], row["completion"]).reward
        assert reward is not None
        assert row["label"] == (round(reward, 6) >= 0.5)
    result = prefer(model, path, "--out", tmp_path / "p", "--format", "kto")
    assert [row["label"] for row in read(tmp_path / "p")] == [True, False] * 5
    assert result["counts"]["desirable"] == 5
    # Of three, the one in the middle wins against one and loses to the other.
    three = write(tmp_path / "3.jsonl", completions(1, 3))
    result = prefer(model, three, "--out", tmp_path / "q", "--format", "kto", "--pairs", "all")
    assert len(read(tmp_path / "q")) == 2
    assert result["counts"]["dropped_completions"] == {"chosen in one pair, rejected in another": 1}


def test_kto_gives_no_completion_both_labels(tmp_path: Path) -> None:
    def pair(chosen: str, rejected: str, **changes: Any) -> dict[str, Any]:
        return {**judged(4, 2), "chosen": chosen, "rejected": rejected, **changes}

    rows = [pair("a", "b"), pair("b", "c"), pair("a", "c"), pair("b", "a", prompt="other")]
    path = write(tmp_path / "s.jsonl", rows)
    result = prefer(path, "--out", tmp_path / "o", "--format", "kto")
    assert [(r["prompt"], r["completion"], r["label"]) for r in read(tmp_path / "o")] == [
        ("p", "a", True),
        ("p", "c", False),
        ("other", "b", True),
        ("other", "a", False),
    ]
    assert result["counts"]["dropped_completions"] == {"chosen in one pair, rejected in another": 1}


def test_the_distance_to_the_threshold_has_six_decimals() -> None:
    both = [Candidate("a", 0.6), Candidate("b", 0.4)]
    rows, dropped = kto_by_threshold("p", both, 0.5, Filters(min_margin=0.1), chat=False)
    assert [row["label"] for row in rows] == [True, False]
    assert not dropped


def test_chat_stays_chat_and_forms_are_not_mixed(model: Path, tmp_path: Path) -> None:
    ask = [{"role": "user", "content": "分析"}]
    rows = [
        {"prompt": ask, "completions": ["收入增长。", [{"role": "assistant", "content": "好"}]]}
    ]
    path = write(tmp_path / "c.jsonl", rows)
    prefer(model, path, "--out", tmp_path / "o")
    (row,) = read(tmp_path / "o")
    assert row["prompt"] == ask
    assert {row["chosen"][0]["content"], row["rejected"][0]["content"]} == {"收入增长。", "好"}
    assert row["chosen"][0]["role"] == row["rejected"][0]["role"] == "assistant"
    write(path, [*rows, {"prompt": "plain", "completions": ["a", "b"]}])
    done = run("reward-model", "prefer", model, path, "--out", tmp_path / "p")
    assert done.code == 2
    assert "line 2: found plain text after rows of chat messages" in done.stderr
    assert not (tmp_path / "p").exists()


def test_prompts_of_one_company_are_not_mixed(tmp_path: Path) -> None:
    def row(prompt: str, text: str, prompt_id: str = "acme") -> dict[str, Any]:
        return {"prompt": prompt, "response": text, "prompt_id": prompt_id}

    index = read_index(
        write(
            tmp_path / "c.jsonl",
            [row("a", "1"), row("b", "2"), row("a", "3"), row("", "4"), row("", "5")],
        ),
        model=True,
    )
    assert [group.completions for group in index.groups()] == [["1", "3"], ["2"], ["4", "5"]]
    write(tmp_path / "c.jsonl", [row("", "1", "")])
    with pytest.raises(UserError, match="completions without a prompt"):
        read_index(tmp_path / "c.jsonl", model=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, "found keys prompt; expected prompt with completions"),
        ({"prompt": "p", "completions": []}, "no list of texts in completions"),
        ({"prompt": "p", "completions": [1]}, "1 in completions"),
        ({"prompt": "p", "completions": "abc"}, "no list of texts in completions"),
        ({"prompt": 3, "response": "r"}, "3 in prompt"),
        (
            {"prompt": "p", "completions": ["a"], "reward_model": []},
            "0 scores in reward_model for 1 completions",
        ),
        ({"prompt": "\ud800", "response": "a"}, "half of a character"),
        ({"prompt": "p", "response": "a"}, "neither scores of a judge nor of a model"),
        ({"prompt": "p", "response": "a", "reward_model": {"reward": 3}}, "reward 3 in"),
        ({"prompt": "p", "response": "a", "reward_model": {}}, "no score in reward_model"),
    ],
)
def test_wrong_rows_are_told(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    done = run(
        "reward-model", "prefer", write(tmp_path / "c.jsonl", [row]), "--out", tmp_path / "o"
    )
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "ppo"), "one of dpo, orpo, cpo, reward, kto, grpo"),
        (("--pairs", "some"), "one of best-worst"),
        (("--min-margin", "3"), "a reward, from 0 to 1"),
        (("--z", "-1"), "a number from 0 up"),
        (("--threshold", "0.5"), "expected --format kto"),
        (("--out", "{out}.jsonl"), "a folder"),
        (("--risk", "1"), "MODEL before the file"),
        (("--device", "cpu"), "--device without a model"),
        (("--batch-tokens", "64"), "--batch-tokens without a model"),
        (("--push-to-hub", "no such name"), "a name such as owner/data"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    path, out = write(tmp_path / "s.jsonl", [judged(4, 2)]), tmp_path / "o"
    done = run(*("reward-model", "prefer", path, "--out", out, *(w.format(out=out) for w in words)))
    assert done.code == 2
    assert message in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["s.jsonl"]


def test_a_folder_of_something_else_is_left_alone(model: Path, tmp_path: Path) -> None:
    before = (model / "config.json").read_bytes()
    path = write(tmp_path / "s.jsonl", [judged(4, 2)])
    done = run("reward-model", "prefer", path, "--out", model)
    assert done.code == 2
    assert "a config.json that this command did not write" in done.stderr
    assert (model / "config.json").read_bytes() == before
    done = run("reward-model", "prefer", model, path, "--out", tmp_path / "p", "--rubric", "x")
    assert done.code == 2
    assert "--rubric with a model, which has its own" in done.stderr


@pytest.mark.parametrize("name", ["train.jsonl", "README.md", "scores.jsonl", "config.json"])
def test_files_of_somebody_else_are_left_alone(model: Path, tmp_path: Path, name: str) -> None:
    path, out = write(tmp_path / "c.jsonl", completions(2)), tmp_path / "data"
    out.mkdir()
    (out / name).write_bytes(b"mine\nwithout an end of line")
    done = run("reward-model", "prefer", model, path, "--out", out)
    assert done.code == 2
    assert "name another --out" in done.stderr
    assert [p.name for p in out.iterdir()] == [name]
    assert (out / name).read_bytes() == b"mine\nwithout an end of line"


def test_the_input_is_never_written_over(tmp_path: Path) -> None:
    path, out = write(tmp_path / "s.jsonl", [judged(4, 2)]), tmp_path / "o"
    prefer(path, "--out", out)
    scored = write(out / "train.jsonl", [judged(4, 1)])
    before = scored.read_bytes()
    done = run("reward-model", "prefer", tmp_path / "o" / ".." / "o" / "train.jsonl", "--out", out)
    assert done.code == 2
    assert "the input itself as --out with train.jsonl, which would be written over" in done.stderr
    assert scored.read_bytes() == before


def test_the_card_is_one_that_hubs_read(model: Path, tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    out = tmp_path / "o"
    prefer(model, write(tmp_path / "c.jsonl", completions(3)), "--out", out, "--z", "0.0001")
    words = DatasetCard.load(out / "README.md")
    assert words.data.language == ["zh"]
    assert words.data.to_dict()["configs"][0]["data_files"][0]["path"] == "train.jsonl"
    assert "license" not in words.data.to_dict()
    config = json.loads((out / "config.json").read_text())
    assert config["model"]["digest"] in words.text
    assert config["input"]["digest"] in words.text
    config["input"]["name"] = "`|<script>"
    assert "<script>" not in card(config)


rewards = st.lists(st.floats(0, 1), min_size=2, max_size=6)


@given(
    rewards,
    st.floats(0, 0.5),
    st.floats(0, 2),
    st.sampled_from(["best-worst", "best-random", "all"]),
)
def test_no_pair_is_against_the_rewards(
    values: list[float], min_margin: float, z: float, how: Any
) -> None:
    candidates = [Candidate(str(i), value, 0.1) for i, value in enumerate(values)]
    made, dropped = preferences(candidates, how, Filters(min_margin, z))
    for pair in made:
        assert pair.margin > 0
        assert pair.margin >= min_margin
        assert pair.margin >= z * 0.02**0.5 - 1e-9
    asked = len(values) * (len(values) - 1) // 2 if how == "all" else 1
    assert len(made) + dropped.total() == asked
    if how == "best-random" and not made:
        assert not preferences(candidates, "best-worst", Filters(min_margin, z))[0]


@given(st.dictionaries(st.sampled_from("abc"), st.floats(0, 2), min_size=1))
def test_the_spread_of_a_reward_is_that_of_independent_heads(spread: dict[str, float]) -> None:
    weights = dict.fromkeys(spread, 1 / len(spread))
    expected = sum((sd / len(spread) / 4) ** 2 for sd in spread.values()) ** 0.5
    assert reward_sd(spread, weights, 4) == pytest.approx(expected)


def test_texts_are_compared_as_they_read() -> None:
    kept, dropped = usable([Candidate("a", 0.1), Candidate(" a\n", 0.1), Candidate("b", None)])
    assert [one.text for one in kept] == ["a"]
    assert dropped == {"identical to an earlier one": 1, "no reward": 1}


def test_tables_give_the_preferences_that_lines_give(tmp_path: Path) -> None:
    """Parquet, and pairs with integer ids and columns of the user's own."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [
        {**judged(4, 1), "id": 3, "source": "web", "n": 1},
        {**judged(3, 1), "id": 4, "source": "web", "n": None, "prompt": "q"},
    ]
    lines = write(tmp_path / "s.jsonl", rows)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "s.parquet")
    for path in (lines, tmp_path / "s.parquet"):
        done = run("reward-model", "prefer", path, "--out", tmp_path / path.suffix)
        assert done.code == 0, done.stderr
    one, other = (
        (tmp_path / ending / "train.jsonl").read_text() for ending in (".jsonl", ".parquet")
    )
    assert one == other
    assert len(one.splitlines()) == 2
    (tmp_path / "c.csv").write_text("prompt,response\np,a\np,b\n")
    done = run("reward-model", "prefer", tmp_path / "c.csv", "--out", tmp_path / "c")
    assert done.code == 2
    assert "neither scores of a judge nor of a model" in done.stderr
    (tmp_path / "d.csv").write_text("prompt,text\np,a\n")
    done = run("reward-model", "prefer", tmp_path / "d.csv", "--out", tmp_path / "d")
    assert "keys prompt, text in row 1" in done.stderr


def test_what_was_made_is_returned_and_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": "p", "completions": ["a", "b"], "reward_model": [{"reward": 0.2}, {"reward": x}]}
        for x in (0.9, 0.2)
    ]
    made = run_prefer([write(tmp_path / "c.jsonl", rows[:1])], tmp_path / "o", PreferOptions())
    assert made["counts"]["written"] == 1
    assert made == json.loads((tmp_path / "o" / "config.json").read_text("utf-8"))
    none = run_prefer([write(tmp_path / "d.jsonl", rows[1:])], tmp_path / "p", PreferOptions())
    assert none["counts"]["written"] == 0
    assert not (tmp_path / "p" / "config.json").exists()
    assert capsys.readouterr() == ("", "")


def test_rows_of_other_data_sets_and_named_columns(model: Path, tmp_path: Path) -> None:
    rows = completions(3, 2)
    two = [
        {"question": r["prompt"], "response_a": a, "response_b": b, "winner": "tie"}
        for r in rows
        for a, b in [r["completions"]]
    ]
    own = [{"ask": r["prompt"], "said": r["completions"], "prompt": "no"} for r in rows]
    prefer(model, write(tmp_path / "a.jsonl", rows), "--out", tmp_path / "a")
    prefer(model, write(tmp_path / "b.jsonl", two), "--out", tmp_path / "b")
    path = write(tmp_path / "c.jsonl", own)
    prefer(model, path, "--out", tmp_path / "c", "--columns", "prompt=ask,completions=said")
    assert read(tmp_path / "a") == read(tmp_path / "b") == read(tmp_path / "c")
    scored = tmp_path / "scored.jsonl"
    assert run("reward-model", "score", model, tmp_path / "b.jsonl", "--out", scored).code == 0
    prefer(scored, "--out", tmp_path / "d")
    assert read(tmp_path / "d") == read(tmp_path / "a")
