"""Prices: tiers, cached tokens, a person's own table, and mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.llm import ChatMessage, Request, Usage
from reward_model.llm.budget import private
from reward_model.llm.prices import Prices, likely_tokens, most_tokens
from reward_model.records import UserError


def ask(text: str, **more: int) -> Request:
    return Request(messages=(ChatMessage(role="user", content=text),), **more)  # type: ignore[arg-type]


def test_the_table_that_ships_is_whole_and_dated() -> None:
    prices = Prices.load()
    assert prices.as_of == "2026-11"
    assert len(prices.models) > 30
    for name, price in prices.models.items():
        assert price.tiers[0].output >= price.tiers[0].input > 0, name
        bounds = [tier.up_to or 0 for tier in price.tiers]
        assert bounds == sorted(bounds), name


def test_a_long_request_costs_what_its_tier_says() -> None:
    price = Prices.load().find("qwen3-max")
    assert price is not None
    assert price.cost(Usage(prompt_tokens=1000, completion_tokens=1000)) == pytest.approx(0.0072)
    assert price.cost(Usage(prompt_tokens=100_000)) == pytest.approx(0.24)
    assert price.cost(Usage(prompt_tokens=900_000)) == pytest.approx(2.7)


def test_ones_own_table_goes_over_the_one_that_ships(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["Gpt-4o"]\ninput = 1\noutput = 2\n["mine"]\ninput = 0\noutput = 0\n', "utf-8")
    prices = Prices.load(file)
    mine, gpt = prices.find("mine"), prices.find("gpt-4o-2024-08-06")
    assert mine is not None
    assert gpt is not None
    assert prices.find("gpt-4o-mini", own=True) is None
    assert prices.find("mine", own=True) is mine


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["m"]\ninput = -1\noutput = 2\n', "m.tiers.0.input: -1 (input should be greater"),
        ('["m"]\ninput = 1\n', "m.tiers.0.output: field required"),
        ('["m"]\ninput = 1\noutput = 2\nper_call = 3\n', "unknown key m.per_call"),
        ('m = "free"\n', "m: "),
        ("[[[", "broken TOML"),
    ],
)
def test_a_mistake_in_it_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(UserError) as caught:
        Prices.load(file)
    assert words in str(caught.value)
    assert "prices.toml" in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        Prices.load(tmp_path / "none.toml")


@given(st.text(max_size=300))
def test_the_bound_of_tokens_is_above_the_guess(text: str) -> None:
    assert likely_tokens(text) <= most_tokens(ask(text))


def test_the_worst_case_counts_the_longest_reply() -> None:
    price = Prices.load().find("gpt-4o-mini")
    assert price is not None
    assert price.most(ask("x", max_tokens=1_000_000)) == pytest.approx(0.6, rel=0.01)
    assert price.most(ask("x")) == pytest.approx(16384 * 0.6e-6, rel=0.01)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://10.0.0.7/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", False),
    ],
)
def test_a_machine_of_ones_own(url: str, own: bool) -> None:
    assert private(url) is own
