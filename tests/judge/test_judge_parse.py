"""From replies to levels: certain repairs are made, everything else is a cause and no number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.scoring.parse import CAUSES, parse_reply

GOOD = '{"reasoning": {"depth": "Says why."}, "levels": {"depth": 3}}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here is my grade:\n\n{GOOD}\n\nLet me know.",
        f'<think>maybe {{"levels": {{"depth": 1}}}}? no</think>\n{GOOD}',
        f"\ufeff  {GOOD}  ",
        '{"levels": {"depth": 3}, "reasoning": "Says why."}',
    ],
)
def test_certain_repairs(text: str) -> None:
    verdicts = parse_reply(text, ["depth"], scale=4)
    assert verdicts.levels == {"depth": 3}
    assert verdicts.reasons == {"depth": "Says why."}
    assert verdicts.whole


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "parse"),
        ("3", "parse"),
        ("depth: 3", "parse"),
        (GOOD[:-1], "parse"),
        (GOOD.replace("3", "03"), "parse"),
        (GOOD + GOOD, "parse"),
        ('{"depth": 3}', "parse"),
        ('{"levels": [3]}', "parse"),
        ('{"levels": {"depth": 2, "depth": 3}}', "parse"),
        ('{"a": 1, "a": 2, "b": {"levels": {"depth": 4}}}', "parse"),
        ('{"levels": {"depth": NaN}}', "parse"),
        ('{"broken": {"levels": {"depth": 4}}', "parse"),
        ('{"levels": {"depth": 3.0}}', "not_integer"),
        ('{"levels": {"depth": 3.5}}', "not_integer"),
        ('{"levels": {"depth": "3"}}', "not_integer"),
        ('{"levels": {"depth": "high"}}', "not_integer"),
        ('{"levels": {"depth": true}}', "not_integer"),
        ('{"levels": {"depth": [3]}}', "not_integer"),
        ('{"levels": {"depth": 5}}', "out_of_range"),
        ('{"levels": {"depth": -1}}', "out_of_range"),
        ('{"levels": {"depth": 10}}', "out_of_range"),
        ('{"levels": {"depth": null}}', "missing"),
        ('{"levels": {}}', "missing"),
        ('{"levels": {"depth": 3, "accuracy": 3}}', "extra"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("抱歉，我无法评价这篇报告。", "refused"),
        ("[" * 100_000, "parse"),
        ("{" * 20_000, "parse"),
        ('{"a":' * 20_000, "parse"),
        ('{"levels": {"depth": ' + "9" * 5000 + "}}", "parse"),
    ],
)
def test_what_is_not_certain_is_no_level(text: str, cause: str) -> None:
    verdicts = parse_reply(text, ["depth"], scale=4)
    assert verdicts.levels == {"depth": None}
    assert verdicts.problems == {"depth": cause}


def test_a_cut_reply_says_so_and_a_filtered_one_is_a_refusal() -> None:
    cut = parse_reply(GOOD[:-8], ["depth"], scale=4, finish_reason="length")
    assert cut.problems == {"depth": "truncated"}
    filtered = parse_reply("", ["depth"], scale=4, finish_reason="content_filter")
    assert filtered.problems == {"depth": "refused"}
    # The object is whole; what was cut after it does not matter.
    assert parse_reply(GOOD + "   ", ["depth"], scale=4, finish_reason="length").whole


def test_one_bad_dimension_leaves_the_others() -> None:
    text = '{"levels": {"depth": 4, "accuracy": 9}}'
    verdicts = parse_reply(text, ["depth", "professionalism", "accuracy"], scale=4)
    assert verdicts.levels == {"depth": 4, "professionalism": None, "accuracy": None}
    assert verdicts.problems == {"professionalism": "missing", "accuracy": "out_of_range"}


@given(st.text() | st.from_regex(r'(.|\n)*\{"levels": ?\{"depth": ?.{0,6}\}\}(.|\n)*'))
def test_any_reply_gives_levels_of_the_scale_or_causes(text: str) -> None:
    verdicts = parse_reply(text, ["depth", "accuracy"], scale=4)
    assert set(verdicts.levels) == {"depth", "accuracy"}
    for name, level in verdicts.levels.items():
        assert (level is None) == (name in verdicts.problems)
        assert level is None or (type(level) is int and 0 <= level <= 4)
    assert set(verdicts.problems.values()) <= set(CAUSES)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 9), min_size=1),
    st.text(alphabet=st.characters(exclude_characters="{}")),
    st.text(alphabet=st.characters(exclude_characters="{}")),
)
def test_chat_around_a_reply_changes_nothing(
    levels: dict[str, int], before: str, after: str
) -> None:
    text = f"{before}{json.dumps({'levels': levels})}{after}"
    assert parse_reply(text, list(levels), scale=9).levels == levels
