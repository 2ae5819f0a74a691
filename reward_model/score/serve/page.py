"""The page at `/`: paste a prompt and a report, see what the model thinks of it."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from reward_model.records.page import phrases, render
from reward_model.rubrics import say

if TYPE_CHECKING:
    from reward_model.score.serve.service import Service

EXAMPLES = {
    "en": (
        "Analyse the margins.\n\nUnit: CNY million\n\n| Item | FY2021 | FY2020 |\n|---|---|---|\n"
        "| Revenue | 1,200 | 1,000 |\n| Cost of sales | 780 | 600 |\n",
        "Revenue rose 20.0% to 1,200 million in FY2021, while cost of sales rose 30.0%. The gross "
        "margin fell to 35.0% from 40.0%. Costs grew faster than prices could follow; if that "
        "goes on, another year like this takes the margin to about 30%.",
    ),
    "zh": (
        "请分析盈利能力。\n\n单位：万元\n\n| 项目 | 2021年 | 2020年 |\n|---|---|---|\n"
        "| 营业收入 | 1,200 | 1,000 |\n| 营业成本 | 780 | 600 |\n",
        "2021年营业收入为1,200万元，同比增长20.0%；营业成本增长30.0%，快于收入，"
        "毛利率由40.0%降至35.0%。若成本继续快于售价上涨，毛利率还将承压。",
    ),
}
"""A prompt and a report to try it with, whose figures are right."""

REASONS = (
    "matches the tables",
    "the tables do not give it",
    "no known label",
    "{claim}: tables give {value}",
    "may be {reading}",
    "may be about {other}",
    "an approximate number, not far off",
    "a change without a direction",
    "points without a direction",
    "the table states no unit",
    "copied from the tables",
    "the text of the prompt says so too",
    "within the rounding of the tables",
    "off in the last digits, as from rounded inputs",
    "not stated as a fact",
    "where it stood before, without a period",
    "points of the share before it",
    "the sentence is not understood whole",
    "under a heading about the future",
    "of which company is not said",
    "several companies are named",
    "an amount for a ratio",
    "label from another sentence",
    "label not certain ({words})",
    "words between label and number ({words})",
    "words before the label ({words})",
)
"""Why a figure was found right, wrong or neither, as `checks` says it."""


def demo_page(service: Service) -> tuple[str, str]:
    """The page, and its content security policy to be sent as a header as well."""
    rubric = service.rubric
    names = {
        name: {lang: say(rubric.dimension(name).title, lang) for lang in ("en", "zh")}
        for name in rubric.names
    }
    language = service.settings.page_language
    phrase = phrases("reward_model.score.serve", "serve", language)
    page = render(
        "reward_model.score.serve",
        "serve",
        say=phrase,
        connect=True,
        parts=("passages",),
        data={
            "dimensions": names,
            "examples": EXAMPLES,
            "reasons": [[reason, phrase(reason)] for reason in REASONS],
            # On an English page dimensions are called as the language of the report calls them.
            "language": None if language == "en" else language,
        },
        model=service.name,
        digest=service.digest,
        rubric=rubric.id,
        keyed=service.keyed,
    )
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found is not None, "every page has its policy"
    return page, html.unescape(found[1])
