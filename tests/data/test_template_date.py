"""A chat template that prints today's date prints the same one tomorrow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tiny_models import byte_tokenizer, save_decoder

from reward_model.data.tokens.inputs import InputBuilder
from reward_model.data.tokens.wrapping import TODAY, dated
from reward_model.model.folder import load_bundle
from reward_model.records import UserError
from reward_model.score.export.run import ExportOptions, run_export
from reward_model.score.scorer import RewardScorer

TEMPLATE = (
    "{%- if strftime_now is defined %}Today is {{ strftime_now('%d %b %Y') }}.{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_decoder(tmp_path_factory.mktemp("dated") / "best", head_type="linear")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    config = json.loads((folder / "config.json").read_text())
    del config["template_date"]  # as it was written before
    (folder / "config.json").write_text(json.dumps(config | {"input_format": "chat"}))
    return folder


def shown(folder: Path) -> str:
    scorer = RewardScorer.from_pretrained(folder, device="cpu")
    text: str = scorer.tokenizer.decode(scorer.encode("Margins?", "Up.").input_ids)
    return text


def test_a_model_says_the_date_it_was_trained_with(model: Path) -> None:
    assert "Today is 01 Jan 2025." in shown(model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"template_date": "2026-03-31"}))
    assert "Today is 31 Mar 2026." in shown(model)
    (model / "config.json").write_text(json.dumps(config | {"template_date": "tomorrow"}))
    with pytest.raises(UserError, match="template_date 'tomorrow'; expected YYYY-MM-DD"):
        load_bundle(model)
    (model / "config.json").write_text(json.dumps(config))


def test_it_is_stored_only_where_it_is_printed() -> None:
    tokenizer = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    builder = InputBuilder(tokenizer, 200)
    assert builder.template_date == builder.settings["template_date"] == TODAY
    other = InputBuilder(tokenizer, 200, template_date="2020-02-02")
    assert builder.one("a", "b") != other.one("a", "b")
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    assert InputBuilder(tokenizer, 200).template_date is None
    assert "template_date" not in InputBuilder(tokenizer, 200).settings


def test_an_export_prints_it_for_programs_that_cannot_be_told(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ExportOptions("sequence-classification")
    run_export(model, out, options)
    template = (out / "chat_template.jinja").read_text()
    assert "'01 Jan 2025'" in template
    assert str(datetime.now(UTC).year) not in template.replace("2025", "")
    with pytest.raises(UserError, match="in a form it makes itself"):
        dated("{{ strftime_now(form) }}", TODAY)
