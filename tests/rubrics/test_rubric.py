"""Rubric files: those that ship, changed ones, and broken ones."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from reward_model.records import UserError
from reward_model.rubrics import load_rubric, parse_rubric, say, shipped_rubrics

FINANCIAL = (files("reward_model") / "rubrics" / "financial_report.toml").read_text("utf-8")


def test_the_financial_rubric_says_what_the_method_says() -> None:
    rubric = load_rubric("financial_report")
    assert rubric.names == ("depth", "professionalism", "accuracy")
    assert rubric.classes == 5
    assert len(rubric.focuses) == 5
    assert {d.name: d.targets for d in rubric.degradations} == {
        "shallow_depth": ("depth",),
        "simplified_calculation": ("accuracy",),
        "generic_wording": ("professionalism",),
        "vague_precision": ("accuracy", "professionalism"),
        "one_sided_coverage": ("depth",),
    }
    assert all(len(d.severities) == 4 for d in rubric.degradations)
    assert rubric.degradation("浅化深度") is rubric.degradation("shallow_depth")
    assert sum(rubric.weights.values()) == pytest.approx(1)


def test_every_text_of_the_financial_rubric_is_there_in_both_languages() -> None:
    def texts(value: object) -> list[dict[str, str]]:
        if isinstance(value, dict) and set(value) <= {"zh", "en"}:
            return [value]
        children = value.values() if isinstance(value, dict) else value
        return [t for c in children if isinstance(c, dict | list) for t in texts(c)]

    found = texts(tomllib.loads(FINANCIAL))
    assert len(found) > 50
    assert all(t.get("zh") and t.get("en") for t in found)


def test_another_scale_is_a_changed_number() -> None:
    rubric = parse_rubric(FINANCIAL.replace("scale = 4", "scale = 9").encode(), "mine.toml")
    assert rubric.classes == 10
    assert [level for level, _ in rubric.anchors("depth", "zh")] == [0, 2, 4, 7, 9]
    assert rubric.reward({"depth": 9, "professionalism": 9, "accuracy": 0}) == pytest.approx(2 / 3)
    assert rubric.digest != load_rubric("financial_report").digest


def test_helpsteer_weighs_only_what_praises() -> None:
    rubric = load_rubric("helpsteer")
    assert rubric.weights["verbosity"] == 0
    levels = {"helpfulness": 4, "correctness": 4, "coherence": 4, "complexity": 0, "verbosity": 0}
    assert rubric.reward(levels) == 1


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("scale = 4", "scale = 0", "scale: 0 (input should be greater than or equal to 1)"),
        ("scale = 4", "scal = 4", "unknown key scal (do you mean scale?)"),
        ('targets = ["depth"]', 'targets = ["deep"]', "targets unknown dimension(s) deep"),
        ('name = "professionalism"', 'name = "depth"', "dimensions named twice: depth"),
        ("weight = 1.0", "weight = 0.0", "weights add up to zero"),
        ("weight = 1.0", "weight = nan", "finite number"),
        ("scale = 4", "scale 4", "broken TOML"),
    ],
)
def test_mistakes_in_a_rubric_file_are_told(tmp_path: Path, was: str, now: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FINANCIAL.replace(was, now), "utf-8")
    with pytest.raises(UserError) as error:
        load_rubric(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    broken = FINANCIAL.replace("scale = 4", "scale = 0").replace("[[focuses]]", "[[focus]]")
    with pytest.raises(UserError, match=r"2 mistake.*scale.*focus"):
        parse_rubric(broken.encode(), "mine.toml")


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=", ".join(shipped_rubrics())):
        load_rubric("finance")
    with pytest.raises(UserError, match="no such file"):
        load_rubric(tmp_path / "none.toml")
    with pytest.raises(UserError, match="one of shallow_depth"):
        load_rubric("financial_report").degradation("boring")


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ({"depth": 5}, "found level 5 in scores.chosen.depth; expected an integer from 0 to 4"),
        ({"depth": -1}, "found level -1"),
        ({"Depth": 1}, "unknown dimension 'Depth' in scores.chosen; expected the dimensions of"),
    ],
)
def test_levels_that_are_not_of_the_rubric_are_refused(levels: dict[str, int], words: str) -> None:
    with pytest.raises(UserError) as error:
        load_rubric("financial_report").check_levels(
            levels, where="scores.chosen", path="scored.jsonl", line=3
        )
    assert words in str(error.value)
    assert str(error.value).startswith("scored.jsonl, line 3: ")
    load_rubric("financial_report").check_levels({"depth": None, "accuracy": 4}, where="x")


def test_words_fall_back_to_a_language_there_is() -> None:
    assert say("plain", "zh") == "plain"
    assert say({"zh": "深"}, "en") == "深"
