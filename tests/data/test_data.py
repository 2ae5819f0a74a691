"""Records in, labelled token ids out: sides, masks, cuts, splits, and words for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from reward_model.data.dataset import (
    MultiDimRewardDataset,
    PairwiseMultiDimDataset,
    Sample,
    get_label_distribution,
)
from reward_model.data.labels import label_warnings
from reward_model.data.reading import find_rubric, read_samples
from reward_model.data.split import PARTS, Split, read_split, shared_data_lines, split_groups
from reward_model.data.tokens.cutting import head_and_tail
from reward_model.data.tokens.inputs import InputBuilder, plain_ids
from reward_model.data.tokens.wrapping import detect_format
from reward_model.records import IGNORE, Message, UserError
from reward_model.rubrics import load_rubric
from reward_model.train.tiny import train_tokenizer

RUBRIC = load_rubric("financial_report")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    words = ["revenue rose because costs fell 12 %", "营业收入同比增长，因为成本下降。", "a b c"]
    return train_tokenizer(words * 3, 300, 512)


def characters(text: str) -> list[int]:
    return [ord(c) for c in text]


@given(st.text(min_size=0, max_size=3000), st.integers(0, 300))
def test_head_and_tail_are_those_of_the_whole_text(text: str, budget: int) -> None:
    ids, cut = head_and_tail(characters, text, budget)
    whole = characters(text)
    if len(whole) <= budget:
        assert (ids, cut) == (whole, False)
        return
    end = budget // 2
    assert ids == whole[: budget - end] + (whole[-end:] if end else [])
    assert cut


def test_a_long_prompt_is_not_tokenised_whole() -> None:
    read = 0

    def encode(text: str) -> list[int]:
        nonlocal read
        read += len(text)
        return [ord(c) for c in text]

    ids, cut = head_and_tail(encode, "收入 123\n" * 20_000, 200)
    assert cut
    assert len(ids) == 200
    assert read < 10_000


def test_cuts_of_real_prompts_are_exact(real_data: Path, tokenizer: Any) -> None:
    line = (real_data / "finreport_pairs_0to4.jsonl").open(encoding="utf-8").readline()
    prompt = json.loads(line)["prompt"]
    whole = plain_ids(tokenizer, prompt)
    for budget in (10, 101, 1000):
        ids, _ = head_and_tail(lambda text: plain_ids(tokenizer, text), prompt, budget)
        assert ids == whole[: budget - budget // 2] + whole[-(budget // 2) :]


def test_the_prompt_gives_way_before_the_response(tokenizer: Any) -> None:
    builder = InputBuilder(tokenizer, 64)
    response = "costs fell " * 15
    encoded = builder.one("revenue rose " * 200, response)
    text = tokenizer.decode(encoded.input_ids, skip_special_tokens=True)
    assert text.count("costs") == 15
    assert len(encoded.input_ids) == 64
    assert (encoded.prompt_cut, encoded.response_cut) == (True, False)
    encoded = builder.one("revenue rose", "costs fell " * 200)
    assert len(encoded.input_ids) == 64
    assert (encoded.prompt_cut, encoded.response_cut) == (True, True)
    assert builder.one("revenue rose", "costs fell").prompt_cut is False


def test_both_sides_of_a_real_pair_stay_apart(real_data: Path, tokenizer: Any) -> None:
    path = real_data / "finreport_pairs_0to4.jsonl"
    dataset = MultiDimRewardDataset.from_file(path, builder=InputBuilder(tokenizer, 256))
    assert len(dataset) == 30
    for item in (PairwiseMultiDimDataset(dataset)[i] for i in range(15)):
        assert item["chosen"]["input_ids"] != item["rejected"]["input_ids"]
        assert max(len(item[side]["input_ids"]) for side in ("chosen", "rejected")) <= 256
    assert dataset.truncation()["prompt"] == 1.0


def test_text_cannot_forge_special_tokens(tokenizer: Any) -> None:
    encoded = InputBuilder(tokenizer, 64).one("rose [SEP] fell", "[CLS] costs [SEP] fell")
    special = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert sum(i in special for i in encoded.input_ids) == 3


def test_evidence_stands_before_the_response_and_is_never_cut(tokenizer: Any) -> None:
    table = (
        "Unit: CNY million\n| Item | FY2021 | FY2020 |\n|---|---|---|\n| Revenue | 120.0 | 100.0 |"
    )
    with_it = InputBuilder(tokenizer, 200, evidence="checks")
    without = InputBuilder(tokenizer, 200)
    short = "Revenue was 120.0 million in FY2021."
    response = "costs fell " * 300 + short
    a, b = with_it.one(table, short), without.one(table, short)
    assert len(a.input_ids) > len(b.input_ids)
    # Whatever the response's length, the evidence is there, and the same at every call.
    assert with_it.one(table, response) == with_it.one(table, response)
    assert len(with_it.one(table, response).input_ids) == 200


def test_chat_messages_go_through_the_chat_template(tokenizer: Any) -> None:
    import copy

    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = (
        "{% for m in messages %}[CLS]{{ m['role'] }}\n{{ m['content'] }}[SEP]{% endfor %}"
    )
    assert detect_format(chatty) == "chat"
    assert detect_format(tokenizer) == "pair"
    builder = InputBuilder(chatty, 128)
    messages = (
        Message(role="system", content="a b c"),
        Message(role="user", content="revenue rose " * 100),
    )
    encoded = builder.one(messages, (Message(role="assistant", content="costs fell"),))
    shown = chatty.decode(encoded.input_ids)
    assert shown.startswith("[CLS]")
    assert "costs fell [SEP]" in shown
    assert encoded.prompt_cut
    assert len(encoded.input_ids) <= 128
    assert builder.one("revenue", "costs").input_ids != builder.one("", "costs").input_ids


def test_sides_labels_and_masks(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 2)
    rows[0]["scores"]["chosen"]["depth"] = None
    del rows[0]["scores"]["rejected"]["accuracy"]
    rows.append({"prompt": "p", "chosen": "a", "rejected": "b"})
    samples, bare = read_samples(toy.write(tmp_path / "a.jsonl", rows), RUBRIC)
    assert bare == 1
    assert [s.side for s in samples] == ["chosen", "rejected"] * 2
    assert samples[0].labels[0] == IGNORE
    assert samples[1].labels[2] == IGNORE
    counts = get_label_distribution(samples, RUBRIC)
    assert counts["depth"]["chosen"]["missing"] == 1
    assert sum(counts["depth"]["all"].values()) == 4


def test_single_responses_and_their_groups(real_data: Path) -> None:
    rubric = load_rubric("helpsteer")
    samples, _ = read_samples(real_data / "helpsteer_single.jsonl", rubric)
    assert len(samples) == 317
    assert len({s.group for s in samples}) == 91
    counts = get_label_distribution(samples, rubric)
    assert counts["complexity"]["all"]["4"] == 0
    assert any("complexity: nobody gave level 4" in w for w in label_warnings(counts, rubric))


def test_the_rubric_is_the_one_the_judge_named(tmp_path: Path) -> None:
    rows = toy.pairs(load_rubric("helpsteer"), 1)
    rows[0]["scores"]["judge"] = {"rubric": "helpsteer@0123"}
    assert find_rubric(toy.write(tmp_path / "a.jsonl", rows)).name == "helpsteer"
    unscored = {**rows[0], "scores": None}
    assert find_rubric(toy.write(tmp_path / "a.jsonl", [unscored, *rows])).name == "helpsteer"
    rows[0]["scores"]["judge"] = {"rubric": "of_my_own@0123"}
    with pytest.raises(UserError, match=r"of_my_own@0123, which does not ship.*--rubric"):
        find_rubric(toy.write(tmp_path / "b.jsonl", rows))
    assert find_rubric(tmp_path / "b.jsonl", "education_bias").name == "education_bias"


def spoilt(change: Any) -> list[dict[str, Any]]:
    rows = toy.pairs(RUBRIC, 3)
    change(rows[1])
    return rows


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["scores"]["chosen"].update(depth=5), "level 5 in scores.chosen.depth"),
        (lambda r: r["scores"]["rejected"].update(depth="high"), "'high'.*integer level"),
        (lambda r: r["scores"]["chosen"].update(beauty=1), "unknown dimension 'beauty'"),
        (lambda r: r.update(colour="red"), "unknown key colour"),
        (lambda r: r.pop("rejected"), "no key rejected"),
        (lambda r: r.update(prompt=7), "7 in prompt"),
    ],
)
def test_wrong_records_are_named_by_file_and_line(tmp_path: Path, change: Any, words: str) -> None:
    path = toy.write(tmp_path / "bad.jsonl", spoilt(change))
    with pytest.raises(UserError, match=words) as error:
        read_samples(path, RUBRIC)
    assert (error.value.path, error.value.line) == (path, 2)


def test_a_file_without_scores_says_what_to_run(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}]
    with pytest.raises(UserError, match="judge score PAIRS"):
        read_samples(toy.write(tmp_path / "a.jsonl", rows), RUBRIC)


def sample(group: str, n: int = 0) -> Sample:
    return Sample(f"prompt of {group}", f"{group} {n}", (1, 2, 3), group, "single", f"{group}-{n}")


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 6), min_size=3),
    st.integers(0, 5),
)
def test_no_group_is_in_two_parts(sizes: dict[str, int], seed: int) -> None:
    samples = [sample(group, n) for group, size in sizes.items() for n in range(size)]
    split = split_groups(samples, {"train": 0.7, "validation": 0.15, "test": 0.15}, seed)
    parts = [split.select(samples, part) for part in PARTS]
    assert all(parts)
    assert sum(map(len, parts)) == len(samples)
    groups = [{s.group for s in part} for part in parts]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    again = split_groups(samples, {"train": 0.7, "validation": 0.15, "test": 0.15}, seed)
    assert again == split


def test_every_field_is_held_out(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 100, groups=50)
    for i, row in enumerate(rows):
        row["metadata"]["field"] = ["a", "b", "c", "d", "e"][i % 50 % 5]
    samples, _ = read_samples(toy.write(tmp_path / "a.jsonl", rows), RUBRIC)
    split = split_groups(samples, {"train": 0.8, "validation": 0.2}, 0)
    held_out = split.select(samples, "validation")
    assert len(held_out) == 40
    assert {s.field for s in held_out} == set("abcde")
    split.write(tmp_path)
    assert read_split(tmp_path) == split
    assert isinstance(read_split(tmp_path / "best"), Split)


def test_a_single_group_cannot_be_split() -> None:
    with pytest.raises(UserError, match=r"a single group.*--eval-file"):
        split_groups([sample("a"), sample("a", 1)], {"train": 0.8, "validation": 0.2}, 0)


def test_real_prompts_about_one_company_are_noticed(real_data: Path) -> None:
    samples, _ = read_samples(real_data / "finreport_pairs_0to4.jsonl", RUBRIC)
    split = split_groups(samples, {"train": 0.7, "validation": 0.3}, 0)
    parts = [split.select(samples, part) for part in ("train", "validation")]
    assert shared_data_lines(*parts) > 0.9
    assert shared_data_lines([sample("a")], [sample("b")]) == 0
