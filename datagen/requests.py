"""From a pair to be made to the prompts that make it."""

from __future__ import annotations

import random
import re

from datagen import synthetic
from datagen.companies import Company, label_of, markdown
from datagen.design import Slot
from datagen.fields import FIELDS, field_title
from datagen.settings import Settings
from reward_model.llm import ChatMessage, Request, fence, fill, prompt_file
from reward_model.records import digest
from reward_model.rubrics import Rubric, say

READERS = {
    "zh": {"股东": "公司股东与投资者", "债权人": "债权人与评级机构", "管理层": "公司管理层"},
    "en": {"shareholder": "shareholders and investors", "lender": "lenders and rating agencies",
           "management": "the company's management"},
}  # fmt: skip
LENGTHS = {
    "zh": ("一千字左右", "一千五百字左右", "两千字左右"),
    "en": ("about 600 words", "about 900 words", "about 1,200 words"),
}


class Prompts:
    """Builds the prompts of one data set."""

    def __init__(self, settings: Settings, rubric: Rubric, frameworks: dict[tuple[str, str], str]):
        self.settings, self.rubric, self.frameworks = settings, rubric, frameworks
        self._last = Company("", {}, "")

    def tables(self, slot: Slot) -> str:
        """The company's statements as the prompt shows them."""
        company = self._whole(slot.company)
        return company.prompt or markdown(company, slot.language, self._draw(company, "unit"))

    def report(self, slot: Slot) -> str:
        """The prompt of the record: what a policy would see. It follows from the company alone."""
        company, language = self._whole(slot.company), slot.language
        if company.prompt:
            return company.prompt
        text, reader = self._framework(company, language)
        periods = company.periods()
        return fill(
            prompt_file("datagen", "report", language),
            field=field_title(company.field, language),
            reader=reader,
            framework=text,
            company=self.name(slot),
            industry=company.industry.get(language) or field_title(company.field, language),
            tables=self.tables(slot),
            period=label_of(periods[0], language) if periods else _LATEST[language],
        )

    def _whole(self, company: Company) -> Company:
        """A company with its statements."""
        if not company.synthetic or company.statements:
            return company
        if company.id != self._last.id:  # one pair asks for the same one several times
            self._last = synthetic.filled(company, seed=self.settings.seed)
        return self._last

    def name(self, slot: Slot) -> str:
        """The company's name in the language of the pair."""
        names = slot.company.name
        return names.get(slot.language) or next(iter(names.values()))

    def write(self, slot: Slot, sample: int) -> Request:
        """Ask for the golden report."""
        language = slot.language
        system = fill(
            prompt_file("datagen", "write", language),
            instruction=say(self.rubric.focus(slot.focus).instruction, language),
            length=LENGTHS[language][self._draw(slot, "length") % 3],
            settings=_tags(
                task="write", language=language, focus=slot.focus, company=self.name(slot),
                sector=FIELDS[slot.company.field],
            ),
        )  # fmt: skip
        messages = (
            ChatMessage(role="system", content=system),
            ChatMessage(role="user", content=self.report(slot)),
        )
        return self._request(messages, slot, "write", sample, self.settings.temperature_gold)

    def degrade(self, slot: Slot, gold: str, sample: int) -> Request:
        """Ask for a worse edit of the golden report."""
        entry = self.rubric.degradation(slot.edit)
        text = fill(
            prompt_file("datagen", "degrade", slot.language),
            instruction=say(entry.instruction, slot.language),
            severity=say(entry.severities[slot.severity - 1], slot.language),
            settings=_tags(
                task="degrade", language=slot.language, kind=entry.name,
                severity=str(slot.severity),
            ),
            statements=fence("statements", self.tables(slot)),
            report=fence("report", gold),
        )  # fmt: skip
        messages = (ChatMessage(role="user", content=text),)
        temperature = self.settings.degraded_temperature
        return self._request(messages, slot, "degrade", sample, temperature)

    def rewrite(self, slot: Slot, gold: str, kind: str, side: str, sample: int) -> Request:
        """Ask for an edit that leaves the quality as it is."""
        entry = self.rubric.rewrite(kind)
        text = fill(
            prompt_file("datagen", "rewrite", slot.language),
            instruction=say(entry.instruction, slot.language),
            settings=_tags(task="rewrite", language=slot.language, kind=entry.name),
            statements=fence("statements", self.tables(slot)),
            report=fence("report", gold),
        )
        messages = (ChatMessage(role="user", content=text),)
        temperature = (
            self.settings.temperature_gold
            if side == "chosen"
            else self.settings.degraded_temperature
        )
        return self._request(messages, slot, f"rewrite-{side}", sample, temperature)

    def _request(
        self, messages: tuple[ChatMessage, ...], slot: Slot, what: str, sample: int,
        temperature: float | None,
    ) -> Request:  # fmt: skip
        return Request(
            messages=messages,
            temperature=temperature,
            max_tokens=self.settings.max_tokens,
            # Another draw gets another seed: with the same one a provider says the same again.
            seed=self._draw(slot, f"{what}:{sample}" if sample else what),
            sample=sample,
            **self.settings.asked(),
        )

    def _draw(self, of: Slot | Company, what: str) -> int:
        """A number that follows from the seed and what it is for."""
        return int(digest(f"{self.settings.seed}:{of.id}:{what}", 7), 16)

    def _framework(self, company: Company, language: str) -> tuple[str, str]:
        """What every reader needs and one perspective, drawn by company; and who that reader is."""
        text = self.frameworks[company.field, language]
        head, *rest = re.split(r"\n(?=## )", text)
        views = [part for part in rest if re.match(r"##\s*(?:视角|Perspective)", part)]
        common = [part for part in rest if part not in views]
        rng = random.Random(self._draw(company, "perspective"))
        view = rng.choice(views) if views else ""
        reader = next(
            (who for word, who in READERS[language].items() if word in view.split("\n")[0]),
            READERS[language]["股东" if language == "zh" else "shareholder"],
        )
        parts = [_demote(part) for part in (head, *common, view) if part]
        return "\n\n".join(part.strip() for part in parts), reader


_LATEST = {"zh": "最近一期", "en": "the latest period"}


def _demote(markdown_text: str) -> str:
    """Headings one level down, under the prompt's own; the title goes, the prompt has one."""
    text = re.sub(r"^# .*\n+", "", markdown_text)
    return re.sub(r"^##(?=#* )", "###", text, flags=re.M)


def _tags(**values: str) -> str:
    return "\n".join(fence(name, value) for name, value in values.items())
