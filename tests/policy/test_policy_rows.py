"""Rows of any file become what a policy learns from, and none is lost without being counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_policies import policy_tokenizer
from toy import write

from reward_model.policy.frame import Frame, unpaired
from reward_model.policy.rows import PolicyRow, fact, read_rows, told, with_instruction
from reward_model.policy.settings import PolicyConfig, losses, resolve
from reward_model.records import UserError, as_text

USER = {"role": "user", "content": "Why?"}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


PAIRS: dict[str, dict[str, Any]] = {
    "plain": {"prompt": "Why?", "chosen": "Because.", "rejected": "Dunno."},
    "chat sides": {"prompt": "Why?", "chosen": [said("Because.")], "rejected": [said("Dunno.")]},
    "ultrafeedback binarized": {
        "prompt": "Why?",
        "prompt_id": "u1",
        "chosen": [USER, said("Because.")],
        "rejected": [USER, said("Dunno.")],
        "messages": [USER, said("Because.")],
        "score_chosen": 8.0,
    },
    "no prompt but turns": {
        "chosen": [USER, said("Because.")],
        "rejected": [USER, said("Dunno.")],
    },
    "helpsteer2 preference": {
        "prompt": "Why?",
        "response_1": "Dunno.",
        "response_2": "Because.",
        "preference_strength": 2,
    },
    "helpsteer3": {
        "context": [USER],
        "response1": "Because.",
        "response2": "Dunno.",
        "overall_preference": -1,
    },
    "alpaca": {"instruction": "Why?", "input": "", "chosen": "Because.", "rejected": "Dunno."},
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_of_any_format(name: str, tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path / "pairs.jsonl", [PAIRS[name]]), "pairs").rows
    assert (as_text(row.prompt), row.chosen, row.rejected) == ("Why?", "Because.", "Dunno.")


def test_answers_of_ultrafeedback_and_helpsteer_become_best_against_worst(tmp_path: Path) -> None:
    def rated(text: str, level: str) -> dict[str, Any]:
        return {"response": text, "annotations": {"honesty": {"Rating": level}}}

    several = {"instruction": "Why?", "completions": [rated("no", "2"), rated("yes", "5")]}
    single = [{"prompt": "p", "response": f"r{n}", "helpfulness": n} for n in (1, 4, 2)]
    file = write(tmp_path / "rated.jsonl", [several, *single, {**single[0], "prompt": "alone"}])
    found = read_rows(file, "pairs")
    assert [(r.chosen, r.rejected) for r in found.rows] == [("yes", "no"), ("r4", "r1")]
    assert found.left_out == {
        "the only answer to its prompt": 1,
        "rated between best and worst": 1,
    }


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [USER, said("Because.")]},
        {
            "conversations": [
                {"from": "human", "value": "Why?"},
                {"from": "gpt", "value": "Because."},
            ]
        },
        {"prompt": "Why?", "completion": "Because."},
        {"prompt": [USER], "completion": [said("Because.")]},
        {"instruction": "Why?", "input": "", "output": "Because."},
        PAIRS["plain"],
    ],
)
def test_an_answer_of_any_format(value: dict[str, Any], tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path / "sft.jsonl", [value]), "answers").rows
    assert (as_text(row.prompt), row.chosen) == ("Why?", "Because.")
    (asked,) = read_rows(tmp_path / "sft.jsonl", "prompts").rows
    assert as_text(asked.prompt) == "Why?"


def test_thumbs_stand_alone_or_in_pairs(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "completion": "Because.", "label": True}, PAIRS["plain"]]
    found = unpaired(read_rows(write(tmp_path / "kto.jsonl", rows), "labelled").rows)
    assert [(r.chosen, r.label) for r in found] == [
        ("Because.", True),
        ("Because.", True),
        ("Dunno.", False),
    ]


def test_what_is_no_preference_is_counted(tmp_path: Path) -> None:
    plain = PAIRS["plain"]
    rows = [
        plain,
        {**plain, "chosen": "Dunno."},
        {**plain, "chosen": " "},
        {**plain, "rejected": None},
        {**plain, "metadata": {"kind": "neutral"}},
        {**PAIRS["helpsteer3"], "overall_preference": 0},
    ]
    found = read_rows(write(tmp_path / "pairs.jsonl", rows), "pairs")
    assert (found.read, len(found.rows), sum(found.left_out.values())) == (6, 1, 5)
    assert "2 rows: an answer is empty" in told(found.left_out)


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([{"prompt": "p", "chosen": "c"}], "pairs", "found keys prompt, chosen"),
        ([{"prompt": "p", "response": "c"}], "pairs", "reward-model prefer"),
        ([{"prompt": "p", "completion": "c", "label": "good"}], "labelled", "'good' in label"),
        ([{"text": "x"}], "prompts", "expected prompt, or messages"),
        ([{"prompt": 3, "chosen": "c", "rejected": "d"}], "pairs", "3 as a prompt in prompt"),
        ([{"prompt": "p", "chosen": "c", "rejected": "c"}], "pairs", "chosen equals rejected"),
        ([{"prompt": "p", "chosen": "", "rejected": "c"}], "pairs", "an answer is empty"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    rows: list[Any], kind: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"pairs\.jsonl") as error:
        read_rows(write(tmp_path / "pairs.jsonl", rows), kind)
    assert words in str(error.value)


def test_rows_without_a_prompt_take_the_instruction_and_keep_their_group(tmp_path: Path) -> None:
    rows = [{"chosen": f"good {n}", "rejected": "bad", "meta": {"bias_type": "age"}} for n in "ab"]
    found = read_rows(write(tmp_path / "bias.jsonl", rows), "pairs").rows
    with pytest.raises(UserError, match=r"2 of 2 rows without a prompt.*--instruction"):
        with_instruction(found, None)
    asked = with_instruction(found, "Write a sentence.")
    assert {r.prompt for r in asked} == {"Write a sentence."}
    assert len({r.group for r in asked}) == 2
    assert (
        {fact(r, "metadata.bias_type") for r in asked}
        == {"age"}
        == {fact(r, "meta.bias_type") for r in asked}
    )
    assert fact(asked[0], "language") == "en"


def test_max_rows_draws_by_seed(tmp_path: Path) -> None:
    rows = [{**PAIRS["plain"], "prompt": f"{n}?"} for n in range(50)]
    file = write(tmp_path / "pairs.jsonl", rows)
    drawn = [
        [r.prompt for r in read_rows(file, "pairs", max_rows=5, seed=s).rows] for s in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != [f"{n}?" for n in range(5)]


@pytest.mark.parametrize("chat", [True, False])
def test_prompts_give_way_and_answers_stay_whole(chat: bool) -> None:
    frame = Frame(policy_tokenizer(chat=chat))
    long = "begin " + "x" * 500 + " end"
    rows = [
        PolicyRow(long, "a" * 40, "b" * 20),
        PolicyRow("short", "a", "b"),
        PolicyRow("short", "a" * 300, "b"),
    ]
    found = frame.fit(rows, 160)
    assert (len(found.rows), found.cut, found.too_long) == (2, 1, 1)
    cut = found.rows[0]
    assert cut.chosen == "a" * 40
    assert as_text(cut.prompt).startswith("begin")
    assert as_text(cut.prompt).endswith("end")
    for row in found.rows:
        for answer in (row.chosen, row.rejected):
            ((asked, answered),) = frame.pair_ids([row.prompt], [answer])
            assert len(asked) + len(answered) <= 160
            text = frame.tokenizer.decode(answered)
            assert text.startswith(answer)
            assert text.rstrip().endswith(frame.tokenizer.eos_token)
            assert asked == frame.prompt_ids([row.prompt])[0]


def test_room_for_an_answer_is_kept() -> None:
    frame = Frame(policy_tokenizer())
    found = frame.fit([PolicyRow("x" * 300)], 128, room=32)
    assert found.cut == 1
    assert len(frame.prompt_ids([found.rows[0].prompt])[0]) <= 96


def test_names_are_those_of_the_design(tmp_path: Path) -> None:
    s = PolicyConfig(
        data="HelpSteer.jsonl",
        base_model="Qwen/Qwen2.5-1.5B-Instruct",
        loss="pref_po",
        beta=0.05,
        alpha=0.1,
        preference="Be honest.",
    )
    assert f"{s.group}/{s.label}" == (
        "HelpSteer_pref_po_Text/HelpSteer-Text-Qwen2.5-1.5B-pref_po-beta0.05-alpha0.1"
    )
    emb = PolicyConfig(data="d/HelpSteer.parquet", base_model="m", virtual_tokens="8")
    assert f"{emb.group}/{emb.label}" == "HelpSteer_dpo_Emb/HelpSteer-Emb-m-dpo-beta0.1"
    assert losses("sigmoid_norm, sft=0.05") == [("sigmoid_norm", 1.0), ("sft", 0.05)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"method": "ppo"}, "extra ppo"),
        ({"method": "grpo"}, "--reward MODEL"),
        ({"method": "sft", "loss": "ipo"}, "--loss ipo with --method sft"),
        ({"loss": "dqo"}, "loss 'dqo'"),
        ({"loss": "sft=x"}, "weight 'x'"),
        ({"loss": "pref_po"}, "without --preference"),
        ({"load_in_4bit": True}, "--lora-rank 16"),
        ({"virtual_tokens": "4", "lora_rank": 4}, "virtual tokens learn alone"),
        ({"method": "kto", "batch_size": 1}, "at least 2 rows"),
        ({"beta": -1.0, "epochs": 0}, "2 mistake"),
        ({"gold": "x"}, "--gold without --watch"),
    ],
)
def test_settings_that_contradict_each_other(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        resolve("d.jsonl", None, {"base_model": "m", **flags})
    assert words in str(error.value)


def test_a_file_of_settings_gives_way_to_flags(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('base_model = "m"\nbeta = 0.5\nseed = 3\n[trl]\nwarmup_steps = 2\n')
    s = resolve("d.jsonl", file, {"beta": 0.2, "trl": {"max_grad_norm": 0.5}})
    assert (s.beta, s.seed, s.trl) == (0.2, 3, {"warmup_steps": 2, "max_grad_norm": 0.5})
    assert json.loads(s.model_dump_json())["beta"] == 0.2
