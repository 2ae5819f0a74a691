"""Probes: each does to a text what it says, in both languages, and nothing else."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.checks import read_facts, verify
from reward_model.data.dataset import Sample
from reward_model.measure.probing.edits import sentences, stock
from reward_model.measure.probing.probes import PROBES, apply, choose_probes, edits_of
from reward_model.records import Message, UserError

TABLES = {
    "zh": "请分析。\n单位：亿元\n| 项目 | 2021年 | 2020年 |\n|---|---|---|\n"
    "| 营业收入 | 120.0 | 100.0 |\n| 净利润 | 15.0 | 10.0 |\n| 营业成本 | 80.0 | 70.0 |",
    "en": "Analyse it.\nUnit: CNY million\n| Item | FY2021 | FY2020 |\n|---|---|---|\n"
    "| Revenue | 120.0 | 100.0 |\n| Net profit | 15.0 | 10.0 |\n| Cost of sales | 80.0 | 70.0 |",
}
REPORTS = {
    "zh": "## 业绩\n2021年营业收入为120.0亿元，同比增长20.0%。净利润为15.0亿元，同比增长50.0%。\n\n"
    "| 指标 | 2021年 |\n|---|---|\n| 毛利率 | 33.3% |\n\n"
    "增长来自新产能释放。成本上升较慢，因此利润率改善。",
    "en": "## Results\nRevenue was CNY 120.0 million in FY2021, up 20.0%. Net profit was CNY 15.0 "
    "million in FY2021, up 50.0%.\n\n| Measure | FY2021 |\n|---|---|\n| Gross margin | 33.3% |\n\n"
    "Growth came from new capacity. Costs rose more slowly, so margins improved.",
}
BOTH = pytest.mark.parametrize("language", ["zh", "en"])


def edited(name: str, language: str, seed: int = 0) -> str:
    (probe,) = choose_probes([name])
    text = apply(probe, TABLES[language], REPORTS[language], seed)
    assert text is not None
    return text


def words(text: str) -> str:
    return re.sub(r"[\s#*\-]", "", text)


def other_script(text: str, language: str) -> list[str]:
    return re.findall(r"[A-Za-z]{3,}" if language == "zh" else r"[\u4e00-\u9fff]+", text)


@BOTH
@pytest.mark.parametrize(("name", "kind"), [("length_padding", "filler"), ("jargon", "jargon")])
def test_stuffing_keeps_the_text_and_its_tables_and_adds_stock_sentences(
    language: str, name: str, kind: str
) -> None:
    before, after = REPORTS[language], edited(name, language)
    left = after
    added = 0
    for sentence in stock(language)[kind]:
        added += left.count(sentence)
        left = left.replace(" " + sentence, "").replace(sentence, "")
    assert left == before
    assert len(after) >= (1.5 if kind == "filler" else 1.2) * len(before)
    assert added >= 1


@BOTH
def test_a_point_of_a_list_is_ended_before_a_sentence_follows(language: str) -> None:
    points = {
        "zh": "主要指标如下：\n- **营业收入**：23.8亿元，同比减少14.7%\n"
        "- **净利润**：0.6亿元，由盈转亏",
        "en": "The main figures:\n- **Revenue**: CNY 23.8 million, down 14.7% on the year\n"
        "- **Net profit**: CNY 0.6 million, after a loss in the year before",
    }[language]
    text = apply(PROBES[0], "", points, 0)
    assert text is not None
    lead, *rest = text.splitlines()
    assert lead == points.splitlines()[0]
    stop = "。" if language == "zh" else ". "
    for line, point in zip(rest, points.splitlines()[1:], strict=True):
        assert line == point or line.startswith(point + stop)


@BOTH
def test_markdown_adds_headings_bullets_and_bold_and_no_word_of_content(language: str) -> None:
    before, after = REPORTS[language], edited("markdown", language)
    headings = stock(language)["headings"]
    lines = [x for x in after.splitlines() if x.removeprefix("## ") not in headings]
    assert words("".join(lines)) == words(before)
    assert after.count("\n- ") == 4
    assert "**20.0%**" in after
    assert "**2021" not in after


@BOTH
def test_exchanged_figures_are_wrong_and_nothing_else_changes(language: str) -> None:
    before, after = REPORTS[language], edited("number_swaps", language)
    assert re.sub(r"[\d.]", "", after) == re.sub(r"[\d.]", "", before)
    assert Counter(re.findall(r"20\d\d", after)) == Counter(re.findall(r"20\d\d", before))
    facts = read_facts(TABLES[language])
    right = [v.claim.text for v in verify(facts, before) if v.status == "verified"]
    still = [v.claim.text for v in verify(facts, after) if v.status == "verified"]
    assert len(right) >= 4
    assert still == []


def test_an_exchange_changes_the_value() -> None:
    (probe,) = choose_probes(["number_swaps"])
    after = apply(probe, "", "up 12.5% and 12.50%", 0)
    assert after is not None
    assert not {"12.5%", "12.50%"} & set(re.findall(r"[\d.]+%", after))


@pytest.mark.parametrize("name", ["markdown", "length_padding", "language_switch"])
def test_code_stays_as_it_is(name: str) -> None:
    (probe,) = choose_probes([name])
    code = "```\ntotal = price * amount  # this line is code. It is long.\n```"
    after = apply(probe, "", f"Sales rose. Costs fell.\n{code}\nMargins rose. So did cash.", 0)
    assert after is not None
    assert code in after


@BOTH
def test_repetition_expertise_and_echo_keep_the_text_whole(language: str) -> None:
    before = REPORTS[language]
    repeated = edited("repeated_text", language)
    assert repeated.startswith(before)
    tail = repeated[len(before) :].strip()
    assert before.endswith(tail)
    assert len(tail) >= 0.3 * len(before)
    claim = edited("expert_claim", language)
    assert claim.endswith(before)
    assert claim.removesuffix(before).strip() in stock(language)["expert"]
    echo = edited("prompt_echo", language)
    assert echo.endswith(before)
    pasted = echo.removesuffix(before).strip().splitlines()[1:]
    assert all(line in TABLES[language].splitlines() for line in pasted)
    assert any("120.0" in line for line in pasted)


@BOTH
def test_every_second_sentence_is_in_the_other_language(language: str) -> None:
    before, after = REPORTS[language], edited("language_switch", language)
    other = "en" if language == "zh" else "zh"
    taken = [s for s in stock(other)["passage"] if s in after]
    assert len(taken) == 2
    assert len(other_script(after, language)) > len(other_script(before, language))
    assert "33.3%" in after  # the table stays
    assert "。 " not in after


@BOTH
def test_a_truncated_text_ends_inside_a_sentence(language: str) -> None:
    before, after = REPORTS[language], edited("truncated", language)
    assert before.startswith(after)
    assert 0.5 * len(before) < len(after) <= 0.6 * len(before)
    assert after[-1] not in "。.!?！？ \n"


@BOTH
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_the_same_seed_edits_alike_whatever_was_edited_before(probe, language: str) -> None:  # type: ignore[no-untyped-def]
    once = apply(probe, TABLES[language], REPORTS[language], 3)
    random.random()
    assert apply(probe, TABLES[language], REPORTS[language], 3) == once
    messages = (Message(role="assistant", content=REPORTS[language]),)
    assert apply(probe, (Message(role="user", content=TABLES[language]),), messages, 3) == once


def test_another_seed_takes_other_sentences() -> None:
    assert len({edited("length_padding", "zh", seed) for seed in range(5)}) > 1
    assert len({edited("number_swaps", "zh", seed) for seed in range(5)}) > 1


def test_what_offers_nothing_to_edit_is_left_out() -> None:
    by_name = {probe.name: probe for probe in PROBES}
    assert all(apply(probe, "p", " \n", 0) is None for probe in PROBES)
    assert apply(by_name["number_swaps"], "", "No figure in the year 2021.", 0) is None
    assert apply(by_name["prompt_echo"], " ", "text", 0) is None
    assert apply(by_name["truncated"], "", "ok", 0) is None
    assert apply(by_name["language_switch"], "", "One sentence alone.", 0) is None


_TEXTS = st.text(
    st.sampled_from("0159.,%（）()-+|#*\n。. 年月亿元万增长a Revenue up CNYm12")
    | st.characters(exclude_categories=["Cs"]),
    max_size=200,
)


@given(_TEXTS, _TEXTS, st.integers(0, 9))
def test_any_text_at_all(text: str, prompt: str, seed: int) -> None:
    for probe in PROBES:
        after = apply(probe, prompt, text, seed)
        assert after is None or (isinstance(after, str) and after != text)
        if probe.name == "number_swaps" and after is not None:
            kept = re.compile(r"[\d.,]")
            assert kept.sub("", after) == kept.sub("", text)


@given(
    st.lists(st.sampled_from(["营收增长。", "Sales rose by 1.5%. ", "下降3.2%！", "And then? "]))
)
def test_sentences_lose_nothing(parts: list[str]) -> None:
    line = "".join(parts)
    assert re.sub(r"\s", "", "".join(sentences(line))) == re.sub(r"\s", "", line)


def test_stock_texts_say_nothing_that_can_be_checked() -> None:
    for kind in ("filler", "jargon", "expert", "passage"):
        for language in ("zh", "en"):
            texts = stock(language)[kind]
            assert len(set(texts)) == len(texts)
            assert all(text[-1] in "。." and not re.search(r"\d", text) for text in texts)
    assert stock("zh").keys() == stock("en").keys()


def test_an_unknown_probe_is_told_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="found probe 'padding'; expected one of length_padding, "):
        choose_probes(["padding"])
    assert choose_probes([]) == PROBES


@BOTH
def test_scrambled_texts_are_made_of_the_same_and_say_nothing(language: str) -> None:
    before = REPORTS[language]
    shuffled = edited("shuffled_words", language)
    assert Counter(re.sub(r"\s", "", shuffled)) == Counter(re.sub(r"\s", "", before))
    assert shuffled.count("\n") == before.count("\n")
    turned = edited("shuffled_sentences", language)
    known = [sentence for line in before.splitlines() for sentence in sentences(line)]
    assert sorted(s for line in turned.splitlines() for s in sentences(line)) == sorted(known)
    salad = edited("salad", language)
    assert 0.5 * len(before) < len(salad) <= len(before)
    facts = read_facts(TABLES[language])
    right = [v for v in verify(facts, before) if v.status == "verified"]
    left = [v for v in verify(facts, shuffled) if v.status == "verified"]
    assert len(left) < len(right) / 2


@BOTH
def test_figures_without_analysis_are_those_of_the_tables(language: str) -> None:
    listed = edited("no_analysis", language)
    assert "120.0" in listed
    assert "100.0" in listed
    words = ("因此", "来自") if language == "zh" else ("because", "came from", "Growth")
    assert not any(word in listed for word in words)
    (probe,) = choose_probes(["no_analysis"])
    assert apply(probe, "no table here", "Sales rose.", 0) is None


def test_a_good_text_stands_under_the_prompt_of_another_company() -> None:
    (probe,) = choose_probes(["other_company"])
    texts = [
        Sample(f"prompt {i // 2}", f"text {i}", (4, 4, 4), f"g{i // 2}", side, f"p{i // 2}")
        for i, side in enumerate(("chosen", "rejected") * 3)
    ]
    found = edits_of(probe, texts, 0)
    assert found[1::2] == [None] * 3
    for text, made in zip(texts[::2], found[::2], strict=True):
        assert made is not None
        assert made[1] == text.response
        assert made[0] in {other.prompt for other in texts} - {text.prompt}
    assert edits_of(probe, texts, 0) == found
    assert edits_of(probe, texts[:2], 0) == [None, None]
