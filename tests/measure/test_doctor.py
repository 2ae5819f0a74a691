"""The doctor finds what was broken on purpose, says what to do, and leaves healthy things alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_decoder, save_encoder
from transformers import AutoTokenizer
from typer.testing import CliRunner

from reward_model import RewardScorer
from reward_model.cli.commands import app
from reward_model.measure.doctor import model as doctor_model
from reward_model.measure.doctor import parts
from reward_model.measure.doctor.file import look_at_file
from reward_model.measure.doctor.findings import Finding
from reward_model.measure.doctor.model import behaviour, look_at_folder, look_at_model, precision
from reward_model.model.folder import load_bundle
from reward_model.records import UserError


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("doctor") / "model")


@pytest.fixture
def model(healthy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(healthy, tmp_path / "model"))


def problems(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.found for finding in findings if finding.level == "problem"}


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_healthy_models_have_no_problem(healthy: Path, tmp_path: Path) -> None:
    assert problems(look_at_model(healthy)) == {}
    decoder = look_at_model(save_decoder(tmp_path / "decoder"))
    assert problems(decoder) == {}
    notes = [finding.found for finding in decoder if finding.level == "note"]
    assert any("padding is the end-of-text token" in note for note in notes)


def test_a_rubric_that_is_not_the_one_trained_on(model: Path) -> None:
    rubric = json.loads((model / "rubric.json").read_text())
    rubric["dimensions"][0]["weight"] = 7.0
    (model / "rubric.json").write_text(json.dumps(rubric))
    assert "the model was trained on financial_report@" in problems(look_at_model(model))["rubric"]
    (model / "rubric.json").unlink()
    assert "no such file" in problems(look_at_model(model))["rubric"]


def test_a_split_that_cannot_be_read(model: Path) -> None:
    (model / "split.json").write_text('{"groups": ')
    assert problems(look_at_model(model)) == {"split": "a broken split file"}


def test_missing_heads_and_broken_weights(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("heads.1")}
    save_file(kept, model / "model.safetensors", metadata={"format": "pt"})
    assert "heads.1" in problems(look_at_model(model))["load"]
    (model / "model.safetensors").write_bytes(b"no weights")
    assert "cannot be read" in problems(look_at_model(model))["weights"]
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    found = problems(look_at_model(model))
    assert found["weights"] == "no *.safetensors in the folder"
    assert "pytorch_model.bin" in found["code"]


def test_heads_that_say_the_same_for_every_text_or_no_number(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["heads.2.out.weight"] = torch.zeros_like(weights["heads.2.out.weight"])
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert problems(look_at_model(model)) == {"heads": "accuracy says the same for every text"}
    weights["heads.2.out.bias"] = torch.full_like(weights["heads.2.out.bias"], float("nan"))
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert "not numbers" in problems(look_at_model(model))["numbers"]


def test_a_precision_in_which_scores_are_no_numbers(
    healthy: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, fast = (RewardScorer.from_pretrained(folder) for folder in (healthy, model))
    assert precision(plain, fast).level == "ok"
    head: Any = fast.model.heads[1]
    head.out.bias.data.fill_(float("nan"))
    assert "scores that are not numbers" in precision(plain, fast).found
    save_file(fast.model.state_dict(), model / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(doctor_model, "best_device", lambda: torch.device("cuda"))
    # Such a model is told once, and not loaded again for an accelerator.
    assert list(problems(look_at_model(model))) == ["numbers"]


def test_inputs_longer_than_the_positions_and_files_that_carry_code(model: Path) -> None:
    edit(model / "config.json", max_input_length=4096)
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    found = problems(look_at_model(model))
    assert found["length"] == "inputs of up to 4096 tokens, but only 512 positions"
    assert "pytorch_model.bin" in found["code"]


def test_code_is_looked_for_everywhere(model: Path) -> None:
    (model / "extra").mkdir()
    (model / "extra" / "state.joblib").write_bytes(b"pickle")
    (model / "processor_config.json").write_text('{"auto_map": {"AutoProcessor": "x.Y"}}')
    config = json.loads((model / "config.json").read_text())
    edit(model / "config.json", backbone_config=config["backbone_config"] | {"auto_map": {}})
    found = problems(look_at_model(model))["code"]
    assert found == (
        "extra/state.joblib, auto_map in config.json, auto_map in processor_config.json: "
        "files that can carry code"
    )


def test_a_shard_that_is_missing(model: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    found = problems(look_at_model(model))["weights"]
    assert found.startswith("no model-00002-of-00002.safetensors, which")


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"window": "a"}, "load", "window 'a'"),
        ({"max_input_length": "long"}, "load", "max_input_length 'long'"),
        ({"max_input_length": None}, "load", "max_input_length None"),
        ({"temperatures": {"depth": "hot"}}, "load", "temperatures {'depth': 'hot'}"),
        ({"temperatures": {"depth": None}}, "load", "temperatures {'depth': None}"),
        ({"temperatures": [1, 2]}, "load", "temperatures [1, 2]"),
        ({"temperatures": {"depth": float("inf")}}, "configuration", "NaN or Infinity"),
        ({"backbone_config": {"model_type": "bert", "hidden_size": "many"}}, "load", "hidden_size"),
    ],
)
def test_a_broken_configuration_is_one_problem(
    model: Path, changes: dict[str, Any], check: str, words: str
) -> None:
    edit(model / "config.json", **changes)
    found = problems(look_at_model(model))
    assert list(found) == [check]
    assert words in found[check]
    with pytest.raises(UserError):
        load_bundle(model)


def test_windows_stay_within_the_positions(model: Path) -> None:
    edit(model / "config.json", max_input_length=4096, window=128)
    found = {f.check: f.found for f in look_at_model(model)}
    assert found["length"] == "windows of 128 tokens of 512 positions"
    edit(model / "config.json", window=1024)
    assert "only 512 positions" in problems(look_at_model(model))["length"]


def test_heads_in_another_order_or_on_another_scale(model: Path) -> None:
    names = ["professionalism", "depth", "accuracy"]
    edit(model / "config.json", dimensions=names)
    found = look_at_model(model)
    assert problems(found) == {
        "label map": "the heads are professionalism, depth, accuracy, the rubric has depth, "
        "professionalism, accuracy"
    }
    assert "read as another's" in next(f.why for f in found if f.level == "problem")
    edit(model / "config.json", dimensions=["depth"])
    assert "the heads are depth, the rubric" in problems(look_at_model(model))["label map"]
    edit(model / "config.json", dimensions=["depth", "professionalism", "accuracy"])
    edit(model / "config.json", num_levels=10)
    assert "heads of 10 levels, a rubric of 5" in problems(look_at_model(model))["label map"]
    edit(model / "config.json", num_levels=5)
    assert problems(look_at_model(model)) == {}
    edit(model / "config.json", id2label=dict(enumerate(names)))
    assert "id2label says professionalism, depth" in problems(look_at_model(model))["label map"]


def test_a_chat_template_that_is_missing(tmp_path: Path) -> None:
    folder = save_decoder(tmp_path / "model", input_format="chat")
    assert "chat template" in problems(look_at_model(folder))
    with pytest.raises(UserError, match="a tokenizer without a chat template"):
        RewardScorer.from_pretrained(folder)
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    assert problems(look_at_model(folder)) == {}
    assert RewardScorer.from_pretrained(folder).score("q", "text").reward is not None


def test_weights_stored_in_half_precision(model: Path) -> None:
    weights = load_file(model / "model.safetensors")

    def store(half: str) -> list[Finding]:
        new = {name: v.bfloat16() if name.startswith(half) else v for name, v in weights.items()}
        save_file(new, model / "model.safetensors", metadata={"format": "pt"})
        return look_at_model(model)

    backbone = store("backbone")
    assert problems(backbone) == {}
    assert "weights stored in bfloat16" in [f.found for f in backbone if f.level == "note"]
    assert problems(store("heads")) == {"precision": "the heads are stored in bfloat16"}


def test_a_tokenizer_with_more_tokens_than_embeddings(model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["营业收入", "净利润"])
    tokenizer.save_pretrained(model)
    rows = load_bundle(model).model.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr]
    found = problems(look_at_model(model))["vocabulary"]
    assert found == f"{rows + 2} tokens, but {rows} embeddings"


def test_temperatures_of_another_model(model: Path) -> None:
    assert "no temperatures" in [f.found for f in look_at_model(model)]
    edit(model / "config.json", temperatures={"depth": 1.5})
    assert "temperatures depth 1.50" in [f.found for f in look_at_model(model)]
    edit(model / "config.json", temperatures={"fairness": 1.5})
    found = problems(look_at_model(model))
    assert found["calibration"] == "temperatures of fairness, which are no heads"


@pytest.mark.parametrize("save", [save_encoder, save_decoder], ids=["encoder", "decoder"])
def test_a_backbone_that_does_not_mask_padding(save: Any, tmp_path: Path) -> None:
    scorer = RewardScorer.from_pretrained(save(tmp_path / "model", pooling="mean"))
    assert problems(behaviour(scorer)) == {}

    def all_text(_: Any, args: Any, given: dict[str, Any]) -> Any:
        if "row" in given:  # read side by side, without padding
            return args, given
        return args, given | {"attention_mask": torch.ones_like(given["attention_mask"])}

    scorer.model.register_forward_pre_hook(all_text, with_kwargs=True)
    found = problems(behaviour(scorer))
    assert "alone and in one batch" in found["batch"]
    assert "on the right and on the left" in found["padding side"]


@pytest.mark.parametrize("save", [save_encoder, save_decoder], ids=["encoder", "decoder"])
def test_texts_side_by_side_that_see_one_another(save: Any, tmp_path: Path) -> None:
    scorer = RewardScorer.from_pretrained(save(tmp_path / "model"))

    def all_begin_anew(_: Any, args: Any, given: dict[str, Any]) -> Any:
        if "row" in given:
            given["row"].positions = [0] * len(given["row"].positions)
        return args, given

    scorer.model.register_forward_pre_hook(all_begin_anew, with_kwargs=True)
    found = problems(behaviour(scorer))
    assert list(found) == ["company"]
    assert "alone and as score_batch reads them" in found["company"]


def test_a_base_model_that_is_still_to_be_trained(tmp_path: Path) -> None:
    trained = load_bundle(save_encoder(tmp_path / "trained"))
    base = tmp_path / "base"
    trained.model.backbone.save_pretrained(base)
    trained.tokenizer.save_pretrained(base)
    found = look_at_folder(base)
    assert problems(found) == {}
    words = {f.check: f.found for f in found}
    assert words["kind"].startswith("bert: an encoder")
    assert words["length"].startswith("512 positions, fewer than the 1024")
    stored = load_file(base / "model.safetensors")
    lost = "encoder.layer.0.attention.self.key.weight"
    save_file({k: v for k, v in stored.items() if k != lost}, base / "model.safetensors")
    assert f"without 1 of its weights ({lost})" in problems(look_at_folder(base))["weights"]
    save_file(stored, base / "model.safetensors")
    assert problems(look_at_folder(base)) == {}
    edit(base / "config.json", vocab_size=10)
    assert "but 10 embeddings" in problems(look_at_folder(base))["vocabulary"]
    edit(base / "config.json", hidden_size="many")
    assert "hidden_size" in problems(look_at_folder(base))["load"]
    (base / "config.json").write_text('{"model_type": "vit"}')
    assert problems(look_at_folder(base))["kind"].startswith("vit, with a vocabulary of None")
    (base / "model.safetensors").unlink()
    assert "weights" in problems(look_at_folder(base))
    (base / "config.json").write_text('{"model_type": "t5"}')
    assert problems(look_at_folder(base))["kind"] == "an encoder-decoder (t5)"
    (base / "config.json").write_text('{"model_type": "none of them"}')
    assert "load" in problems(look_at_folder(base))

    chat = load_bundle(save_decoder(tmp_path / "decoder"))
    chat.model.backbone.save_pretrained(tmp_path / "plain")
    chat.tokenizer.save_pretrained(tmp_path / "plain")
    found = look_at_folder(tmp_path / "plain")
    assert {f.check: f.found for f in found}["kind"].startswith("qwen2: a decoder")
    assert "chat template" in {f.check for f in found if f.level == "note"}


def row(i: int, **changes: Any) -> dict[str, Any]:
    """A pair of a clean file: levels vary, either side is longer, 24 companies."""
    return {
        "prompt": f"company {i % 24}",
        "chosen": f"good report {i}" + " more" * (i % 2 * 5),
        "rejected": f"weak report {i}" + " more" * ((i + 1) % 2 * 5),
        "metadata": {"prompt_id": f"c{i % 24}"},
        "scores": {
            side: {name: (i + shift + j) % 5 for j, name in enumerate(NAMES)}
            for shift, side in enumerate(("chosen", "rejected"))
        },
    } | changes


NAMES = ("depth", "professionalism", "accuracy")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_a_clean_file_and_what_can_be_wrong_with_one(tmp_path: Path, healthy: Path) -> None:
    rows = [row(i) for i in range(48)]
    clean = write(tmp_path / "clean.jsonl", rows)
    assert problems(look_at_file(clean, rubric=None, model=healthy)) == {}

    def found(changed: list[dict[str, Any]], model: Path | None = None) -> dict[str, str]:
        path = write(tmp_path / "changed.jsonl", changed)
        return problems(look_at_file(path, rubric=None, model=model))

    one_company = [row(i, metadata={"prompt_id": "c"}) for i in range(48)]
    assert "one prompt or company only" in found(one_company)["groups"]
    assert found([*rows, row(1, rejected=row(1)["chosen"])])["pairs"].startswith("1 with the same")
    longer = [row(i, chosen=f"a long good report {i}" * 9) for i in range(48)]
    assert "the longer side is the chosen one in 100%" in found(longer)["length"]
    moved = row(3, metadata={"prompt_id": "elsewhere"})
    assert found([*rows, moved])["groups"] == "2 texts in several groups"
    scored_again = row(3, scores=row(4)["scores"])
    assert found([*rows, scored_again])["labels"] == "2 texts with conflicting labels"
    judged = [
        row(i, scores=row(i)["scores"] | {"judge": {"rubric": "financial_report@old"}})
        for i in range(48)
    ]
    assert found(judged, healthy)["rubric"].startswith("levels by financial_report@old, a model of")
    assert "rubric" not in found(judged)
    cut = [row(i, chosen="a" * 300 + f"{i}" + "z" * 300) for i in range(48)]
    assert "50% of the responses" in found(cut, healthy)["truncation"]
    middle = [
        row(i, chosen="a" * 300 + "good" + "z" * 300, rejected="a" * 300 + "evil" + "z" * 300)
        for i in range(48)
    ]
    assert found(middle, healthy)["truncation"].startswith("48 pairs whose two sides are the same")


def test_a_model_with_evidence_and_prompts_without_tables(tmp_path: Path) -> None:
    model = save_encoder(tmp_path / "model", evidence="checks")
    notes = {f.check: f.found for f in look_at_model(model) if f.level == "note"}
    assert "evidence" in notes
    # Saved without a version, as models were that another checker taught.
    assert "an earlier checker" in notes["checker"]
    table = "单位：万元\n| 项目 | 2021年 | 2020年 |\n|---|---|---|\n| 营业收入 | 120 | 100 |"
    bare = write(tmp_path / "bare.jsonl", [row(i) for i in range(48)])
    found = problems(look_at_file(bare, rubric=None, model=model))
    assert found == {"evidence": "24 of 24 prompts without a table that the checks can read"}
    rows = [row(i, prompt=f"company {i % 24}\n\n{table}") for i in range(48)]
    told = write(tmp_path / "told.jsonl", rows)
    assert problems(look_at_file(told, rubric=None, model=model)) == {}


def test_exit_codes_and_json(healthy: Path, model: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    out = tmp_path / "d.json"
    assert run(app, ["doctor", str(healthy), "--json", str(out)]).exit_code == 0
    assert json.loads(out.read_text())["problems"] == 0
    edit(model / "config.json", max_input_length=4096)
    assert run(app, ["doctor", str(model), "--json", str(out)]).exit_code == 1
    result = json.loads(out.read_text())
    assert result["problems"] == 1
    assert all(f["why"] and f["mend"] for f in result["findings"] if f["level"] == "problem")
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps(row(0)) + "\n{\n")
    half = tmp_path / "half.jsonl"
    half.write_text(json.dumps(row(0)) + "\n" + json.dumps(row(1, chosen="a \ud800")) + "\n")
    for words, target, *flags in [
        ("no such file or folder", tmp_path / "gone"),
        ("no config.json", tmp_path),
        ("line 2: found broken JSON", broken),
        ("half.jsonl, line 2: found half of a character", half),
        ("a folder; expected a file to write", healthy, "--json", str(tmp_path)),
        ("--columns with a model folder", healthy, "--columns", str(broken)),
    ]:
        result = run(app, ["doctor", str(target), *flags])
        assert isinstance(result.exception, UserError)
        assert words in str(result.exception)


def test_a_file_of_other_columns(tmp_path: Path) -> None:
    columns = tmp_path / "columns.toml"
    columns.write_text('prompt = "q"\nresponse = "a"\ngroup = "q"\n[levels]\ndepth = "d"\n')
    rows = [{"q": f"company {i % 24}", "a": f"report {i}", "d": i % 5} for i in range(48)]
    path = write(tmp_path / "rows.jsonl", rows)
    result = CliRunner().invoke(app, ["doctor", str(path), "--columns", str(columns)])
    assert not isinstance(result.exception, UserError), result.exception
    assert "48 texts" in result.stderr


def test_how_slow_half_precision_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(parts, "seconds", lambda *_: [1.0, 1.9, 1.0])
    found = parts.precision_here()
    assert found.level == "ok"
    assert "bfloat16 about 1.9 times and float16 about 1.0 times as long" in found.found


def test_real_pairs(real_data: Path) -> None:
    found = look_at_file(real_data / "finreport_pairs_0to4.jsonl", rubric=None, model=None)
    words = "\n".join(finding.found for finding in found)
    assert "depth (rejected): level 2 on every text" in words
    assert "the longer side is the chosen one" in words
