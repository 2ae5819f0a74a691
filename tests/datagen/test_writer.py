"""The embedded writer: reports that hold, edits that lower what they should and nothing else."""

from __future__ import annotations

import asyncio
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from datagen.companies import shipped
from datagen.design import Slot
from datagen.fields import FIELDS, framework
from datagen.requests import Prompts
from datagen.settings import Settings
from reward_model.checks import read_facts, verify
from reward_model.llm import Request, open_llm
from reward_model.llm.offline.layout import parse, render
from reward_model.llm.offline.phrases import phrases
from reward_model.rubrics import load_rubric

RUBRIC = load_rubric("financial_report")
KINDS = [d.name for d in RUBRIC.degradations]
CAUSES = {"cause1", "cause2", "cause3", "forward", "counter", "sensitivity"}


def ask(request: Request) -> str:
    return asyncio.run(open_llm("offline").complete(request)).text


@cache
def prompts(language: str) -> Prompts:
    settings = Settings.model_validate({"language": language})
    return Prompts(settings, RUBRIC, {(f, language): framework(f, language) for f in FIELDS})


def slot(number: int, language: str, edit: str = "shallow_depth", severity: int = 1) -> Slot:
    company = shipped()[number * 7 % len(shipped())]
    focus = RUBRIC.focuses[number % 5].name
    return Slot(number, company, language, focus, "degraded", edit, severity, 0, False)


@cache
def gold(number: int, language: str) -> str:
    return ask(prompts(language).write(slot(number, language), 0))


@cache
def chosen(number: int, language: str) -> str:
    one = slot(number, language)
    return ask(prompts(language).rewrite(one, gold(number, language), "paraphrase", "chosen", 0))


@cache
def degraded(number: int, language: str, kind: str, severity: int) -> str:
    one = slot(number, language, kind, severity)
    return ask(prompts(language).degrade(one, gold(number, language), 0))


def roles(text: str, language: str) -> list[str]:
    said = phrases(language)
    return [
        found.role
        for line in parse(text, language, said.areas)
        for sentence in line.sentences
        if (found := said.recognise(sentence))
    ]


def digits(text: str) -> int:
    return sum(ch.isdigit() for ch in text)


def wrong(text: str, number: int, language: str) -> int:
    facts = read_facts(prompts(language).report(slot(number, language)))
    return sum(v.status == "wrong" for v in verify(facts, text))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_reports_state_figures_that_hold(language: str) -> None:
    right = false = 0
    for number in range(12):
        facts = read_facts(prompts(language).report(slot(number, language)))
        verdicts = verify(facts, gold(number, language))
        right += sum(v.status == "verified" for v in verdicts)
        false += sum(v.status == "wrong" for v in verdicts)
    assert right >= 200
    assert false <= 0.02 * right


@pytest.mark.parametrize("language", ["zh", "en"])
def test_reports_vary_and_go_beyond_figures(language: str) -> None:
    reports = [gold(n, language) for n in range(12)]
    assert len({r.split("\n")[0] for r in reports}) >= 6
    assert len({line for r in reports for line in r.split("\n") if line.startswith("#")}) >= 10
    sizes = [len(r) for r in reports]
    assert max(sizes) > 1.3 * min(sizes)
    found = {role for r in reports for role in roles(r, language)}
    expected = {"figure", "trend", "definition", "benchmark", "insight", "opinion", "risk"}
    assert expected | CAUSES <= found


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_sentence_of_a_report_is_recognised_and_kept(language: str) -> None:
    said = phrases(language)
    for number in range(6):
        text = gold(number, language)
        lines = parse(text, language, said.areas)
        assert render(lines, language) == text
        sentences = [s for line in lines for s in line.sentences]
        unknown = [s for s in sentences if said.recognise(s) is None]
        assert len(unknown) <= 0.03 * len(sentences), unknown


def test_the_same_request_has_the_same_answer() -> None:
    request = prompts("zh").write(slot(1, "zh"), 0)
    assert ask(request) == ask(request)
    assert ask(request) != ask(request.model_copy(update={"seed": 99}))
    assert ask(request) != ask(request.model_copy(update={"sample": 1}))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_shallow_reports_explain_less_and_less(language: str) -> None:
    def causes(severity: int) -> float:
        texts = [degraded(n, language, "shallow_depth", severity) for n in range(8)]
        return float(np.mean([sum(r in CAUSES for r in roles(t, language)) for t in texts]))

    whole = float(
        np.mean([sum(r in CAUSES for r in roles(gold(n, language), language)) for n in range(8)])
    )
    ladder = [whole, *(causes(s) for s in (1, 2, 3))]
    assert all(a > b for a, b in pairwise(ladder)), ladder
    assert ladder[-1] == 0
    figures = [
        sum(r == "trend" for r in roles(degraded(n, language, "shallow_depth", 4), language))
        for n in range(8)
    ]
    assert sum(figures) == 0


@pytest.mark.parametrize("language", ["zh", "en"])
def test_wrong_calculations_are_wrong_and_more_so(language: str) -> None:
    def errors(severity: int) -> int:
        kind = "simplified_calculation"
        return sum(wrong(degraded(n, language, kind, severity), n, language) for n in range(6))

    ladder = [
        sum(wrong(gold(n, language), n, language) for n in range(6)),
        *map(errors, (1, 2, 3, 4)),
    ]
    assert all(a < b for a, b in pairwise(ladder)), ladder


@pytest.mark.parametrize("language", ["zh", "en"])
def test_vague_reports_lose_figures_but_make_none_wrong(language: str) -> None:
    kept = [
        float(np.mean([
            digits(degraded(n, language, "vague_precision", s)) / digits(gold(n, language))
            for n in range(8)
        ]))
        for s in (1, 2, 3, 4)
    ]  # fmt: skip
    assert all(a > b for a, b in pairwise([1.0, *kept])), kept
    assert kept[-1] < 0.15
    before = sum(wrong(gold(n, language), n, language) for n in range(6))
    after = sum(wrong(degraded(n, language, "vague_precision", 3), n, language) for n in range(6))
    assert after <= before + 2


@pytest.mark.parametrize("language", ["zh", "en"])
def test_generic_reports_lose_the_trade_and_keep_the_figures(language: str) -> None:
    trade = {"benchmark", "insight", "definition", "risk", "opinion"}

    def counted(text: str) -> int:
        terms = phrases(language).fields["terms"]
        folded = text.casefold()
        return sum(r in trade for r in roles(text, language)) + sum(folded.count(t) for t in terms)

    ladder = [float(np.mean([counted(gold(n, language)) for n in range(8)]))] + [
        float(np.mean([counted(degraded(n, language, "generic_wording", s)) for n in range(8)]))
        for s in (1, 2, 3)
    ]
    assert all(a > b for a, b in pairwise(ladder)), ladder
    for number in range(6):
        text = degraded(number, language, "generic_wording", 3)
        assert digits(text) > 0.75 * digits(gold(number, language))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_one_sided_reports_cover_less(language: str) -> None:
    def areas(text: str) -> int:
        lines = parse(text, language, phrases(language).areas)
        return len({line.area for line in lines if line.area})

    ladder = [float(np.mean([areas(gold(n, language)) for n in range(8)]))] + [
        float(np.mean([areas(degraded(n, language, "one_sided_coverage", s)) for n in range(8)]))
        for s in (1, 2, 4)
    ]
    assert all(a > b for a, b in pairwise(ladder)), ladder
    assert ladder[-1] == 1


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", [r.name for r in RUBRIC.rewrites])
def test_neutral_rewrites_keep_what_was_said(language: str, kind: str) -> None:
    for number in range(4):
        text = gold(number, language)
        one = slot(number, language)
        new = ask(prompts(language).rewrite(one, text, kind, "rejected", 0))
        assert new != text
        low, high = RUBRIC.rewrite(kind).length_ratio
        assert low <= len(new) / len(text) <= high
        kept = {
            "cause1",
            "cause2",
            "cause3",
            "counter",
            "definition",
            "benchmark",
            "risk",
            "figure",
        }
        before, after = roles(text, language), roles(new, language)
        for role in kept:
            assert before.count(role) == after.count(role), role


@pytest.mark.parametrize("language", ["zh", "en"])
def test_instructions_never_show(language: str) -> None:
    for number, kind in enumerate(KINDS):
        text = degraded(number, language, kind, 4).casefold()
        assert kind not in text
        assert "severity" not in text
        assert "改写" not in text


@pytest.mark.slow
@pytest.mark.parametrize("language", ["zh", "en"])
def test_length_and_style_do_not_tell_the_sides_apart(language: str) -> None:
    from judge.validate.measures.style import style

    pairs = [
        (
            number,
            chosen(number, language),
            degraded(number, language, KINDS[number % 5], 1 + number // 5 % 4),
        )
        for number in range(100)
    ]
    groups = np.array([slot(number, language).company.id for number, *_ in pairs])
    length = np.array([[np.log(len(a)) - np.log(len(b))] for _, a, b in pairs])
    look = np.array([np.sqrt(style(a)) - np.sqrt(style(b)) for _, a, b in pairs])
    assert auc(length, groups) < 0.65
    assert auc(look, groups) < 0.65


def auc(x: Any, groups: Any) -> float:
    """Share of held-out pairs that a logistic regression on the features ranks right."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    x = x / np.maximum(np.sqrt((x**2).mean(axis=0)), 1e-9)
    right: list[float] = []
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(x, groups=groups):
        both = np.concatenate([x[train], -x[train]])
        label = np.repeat([1, 0], len(train))
        model = LogisticRegression(fit_intercept=False, C=1.0).fit(both, label)
        right += list((np.sign(model.decision_function(x[test])) + 1) / 2)
    return float(np.mean(right))
