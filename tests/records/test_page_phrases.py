"""Pages in another language: tables that hold every phrase, with the same values in both."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from reward_model.records.page import Phrases, phrases
from reward_model.records.page.phrases import phrases_of

ROOT = Path(__file__).parents[2]
BASE = ROOT / "reward_model" / "records" / "page" / "templates"
TABLES = sorted(
    path
    for room in ("reward_model", "judge")
    for path in (ROOT / room).rglob("templates/*.zh.toml")
)
PAGES = [path for path in TABLES if path.name != "base.zh.toml"]
SAID = re.compile(r'\bsay\(\s*"((?:[^"\\]|\\.)*)"')
CHINESE = re.compile(r"[\u4e00-\u9fff]")
MEASURE = ROOT / "reward_model" / "measure" / "evaluation"
SENTENCES = {
    "validate": [
        *sorted((ROOT / "judge" / "validate" / "measures").glob("*.py")),
        ROOT / "judge" / "validate" / "advice.py",
        ROOT / "judge" / "validate" / "answer.py",
        ROOT / "judge" / "validate" / "problems.py",
    ],
    "evaluate": [
        *(MEASURE / name for name in ("answer.py", "words.py", "baselines.py", "fitting.py")),
        ROOT / "reward_model" / "stats" / "words.py",
        ROOT / "reward_model" / "data" / "held_out.py",
        ROOT / "reward_model" / "data" / "labels.py",
        ROOT / "reward_model" / "measure" / "comparison" / "numbers.py",
        ROOT / "reward_model" / "score" / "sentences.py",
    ],
    "policies": [ROOT / "reward_model" / "policy" / "evaluation" / "problems.py"],
    "bench": [ROOT / "reward_model" / "bench" / "words.py"],
    "ab": [ROOT / "reward_model" / "traffic" / "words.py"],
    "preferences": [MEASURE / "preferences.py"],
}
"""Page -> code whose sentences it shows."""
FRAGMENTS = {
    "the weakest targeted cells: ",
    "the rejected side is better where the degradation aims: ",
    "is ahead beyond doubt on",
    "is level or ahead, within doubt, on",
    "is behind, but not beyond doubt, on",
    "not to be told from",
    "7 on 7: 7 7 by 7 points, beyond chance",
    "read texts for the baselines",
}
"""Of sentences that code puts together (the rendered pages have the whole ones), and progress."""


def say_of(table: Path) -> Phrases:
    package = ".".join(table.parent.parent.relative_to(ROOT).parts)
    return phrases(package, table.name.split(".")[0], "zh")


def sentences(path: Path) -> list[str]:
    """Every text in code that reads like a sentence, its values filled with 7s."""
    tree = ast.parse(path.read_text("utf-8"))
    within: set[int] = set()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # docstrings
            within.update(id(part) for part in ast.walk(node))
        if id(node) in within:
            continue
        if isinstance(node, ast.Raise):
            within.update(id(part) for part in ast.walk(node))
        elif isinstance(node, ast.JoinedStr):
            within.update(id(part) for part in ast.walk(node))
            found.append(
                "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "7"
                    for part in node.values
                )
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    command = re.compile(r"\s*(KEPT|judge |reward-model |datagen )")
    return [
        text
        for text in found
        if len(re.findall(r"[A-Za-z]{2,}", text)) >= 4
        and not command.match(text)
        and " " in text
        and "\\u" not in text
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.name)
def test_every_entry_has_both_languages_and_the_same_values(table: Path) -> None:
    found = phrases_of(table)
    for english, chinese in found.items():
        holes = [sorted(re.findall(r"\{(\w+)\}", text)) for text in (english, chinese)]
        assert holes[0] == holes[1], english
        assert CHINESE.search(re.sub(r"\{\w+\}", "", chinese)) or not re.search(
            r"[a-z]{3,}", re.sub(r"\{\w+\}", "", english)
        ), english


@pytest.mark.parametrize("table", PAGES, ids=lambda path: path.name)
def test_every_phrase_of_a_page_is_in_its_table(table: Path) -> None:
    name, say = table.name.split(".")[0], say_of(table)
    files = [table.with_name(f"{name}.html.j2"), table.with_name(f"{name}.js")]
    files += [*BASE.glob("*.j2"), BASE / "passages.js", *table.parent.parent.glob("*.py")]
    said = {
        key for file in files if file.is_file() for key in SAID.findall(file.read_text("utf-8"))
    }
    own = {key for other in PAGES for key in phrases_of(other) if other != table}
    missing = [key for key in said - set(say.table) if key not in own and len(key) > 1]
    assert not missing


@pytest.mark.parametrize("page", SENTENCES)
def test_every_sentence_of_the_code_is_known(page: str) -> None:
    [table] = [path for path in TABLES if path.name == f"{page}.zh.toml"]
    say = say_of(table)
    for beside in table.parent.glob("*.zh.toml"):
        say.table |= phrases_of(beside)
    texts = [text for path in SENTENCES[page] for text in sentences(path)]
    assert texts
    unknown = [text for text in texts if not CHINESE.search(say(text))]
    assert not [text for text in unknown if text not in FRAGMENTS]


def test_a_sentence_finds_its_entry_and_its_values_are_said_too() -> None:
    say = Phrases(
        "zh",
        {
            "the mean of {dimension} is {mean}": "{dimension}的均值为 {mean}",
            "the rest of {n} texts is unknown": "其余 {n} 篇未知",
            "small gap": "差距过小",
            "{n} of {all}": "{n}/{all}",
        },
        {"depth": "分析深度", "style": "文风"},
    )
    assert say("the mean of depth and style is 0.20") == "分析深度和文风的均值为 0.20"
    both = "the mean of depth is 1; the rest of 3 texts is unknown"
    assert say(both) == "分析深度的均值为 1；其余 3 篇未知"
    assert say("{n} of {all}", n=1, all=2) == "1/2"
    # What nobody wrote down stays as it is, whatever stands in it.
    for text in ("3 of 4", "a {brace}", "", "margins of depth.jsonl"):
        assert say(text) == text


def test_values_are_lists_quotations_and_paths() -> None:
    say = Phrases(
        "zh",
        {
            "{feature}: chosen {high}, rejected {low}": "{feature}：优选 {high}，劣选 {low}",
            "up to {n} characters": "至多 {n} 个字符",
            "told apart ({features})": "可分辨（{features}）",
            "Evaluation of {model}": "{model} 的评测",
            "model": "模型",
        },
        {"depth": "分析深度", "style": "文风"},
    )
    found = "“a, b:”: chosen 1%, rejected 2%; “c”: chosen 3%, rejected 4%"
    said = "“a, b:”：优选 1%，劣选 2%；“c”：优选 3%，劣选 4%"
    assert say("told apart ({features})", features=found) == f"可分辨（{said}）"
    assert say("up to 1,527 characters") == "至多 1,527 个字符"
    # A folder keeps its name; dimensions with a slash between are two names.
    assert say("Evaluation of {model}", model="out/model/best") == "out/model/best 的评测"
    assert say("{x}", x="depth/style -0.26") == "分析深度/文风 -0.26"
