"""A flag that would do nothing beside or without another one is refused, in a sentence, before any
file is read or model is loaded: none of the files named here exist."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from judge.cli import app as judge
from reward_model.cli.commands import app

IDLE = {
    "train S --eval-file V --eval-share 0.3": "eval_share beside eval_file",
    "train S --eval-share 0 --patience 2": "patience without validation texts",
    "train S --eval-share 0 --best-metric loss": "best_metric without validation texts",
    "train S --init M --probe": "probe beside init",
    "train S --init M --lora-rank 8": "init and lora_rank",
    "evaluate M S --explain 2": "--explain without --html",
    "evaluate M S --page-language zh": "--page-language zh without --html",
    "score M IN --out O --how minimum": "--how minimum with one model",
    "score M IN --out O --explain": "--explain beside a file",
    "score M IN --out O --prompt q": "--prompt beside a file",
    "score M --response r --out O": "both a file and --response",
    "score M --response r --columns a=b": "--columns beside --response",
    "score M --response r --batch-tokens 9": "--batch-tokens or --num-workers beside --response",
    "score M --response r --num-workers 2": "--batch-tokens or --num-workers beside --response",
    "serve M --how minimum": "--how minimum with one model",
    "prefer F --out O --risk 1": "--risk without a model",
    "prefer F --out O --device cpu": "--device without a model",
    "prefer F --out O --batch-tokens 9": "--batch-tokens without a model",
    "prefer M F --out O --rubric helpsteer": "--rubric with a model",
    "prefer F --out O --threshold 0.5": "--threshold with --format dpo",
    "prefer F --out O --seed 3": "--seed without --pairs best-random",
    "prefer F --out O --format grpo --pairs all": "--pairs all with --format grpo",
    "prefer F --out O --format kto --threshold 0.5 --pairs all": "--pairs all with --threshold",
    "bench length --data D --base-url http://h/v1": "--base-url without a judge",
    "bench length --data D --rubric ultrafeedback": "--rubric without a judge",
    "bench length --data D --out O": "--out without a judge",
    "bench length --data D --device cpu": "--device without a model",
    "bench length --data D --page-language zh": "--page-language zh without --html",
    "export M --to onnx --out O --layout all": "--layout with --to onnx",
    "export M --to onnx --out O --sample 9": "--sample without --data",
    "export M --to onnx --out O --seed 3": "--seed without --data",
    "export M --to onnx --out O --device cpu": "--device with --to onnx",
    "export M --to scalar --out O": "--to scalar without --data",
    "calibrate M S --weight depth=1": "--weight or --risk without --rewards",
    "calibrate M S --risk 1": "--weight or --risk without --rewards",
    "calibrate M S --with N": "--with or --how without --rewards",
    "calibrate M S --rewards --how minimum": "--how minimum with one model",
    "calibrate M S --rewards --split test": "--split with --rewards",
    "calibrate M S --rewards --seed 3": "--seed or --resamples with --rewards",
    "calibrate M S --rewards --resamples 200": "--seed or --resamples with --rewards",
    "traffic monitor L --page-language zh": "--page-language zh without --html",
    "traffic ab L --experiment E --page-language zh": "--page-language zh without --html",
    "traffic ab L --experiment E --plan --html H": "--html with --plan",
    "policy train D --base-model B --risk 1": "--risk without --reward",
    "policy train D --base-model B --centered": "--centered without --reward",
    "policy train D --base-model B --reward R": "--reward with --method dpo",
    "policy train D --base-model B --gamma 1": "--gamma without simpo",
    "policy train D --base-model B --alpha 1": "--alpha with dpo",
    "policy train D --base-model B --method sft --beta 1": "--beta with --method sft",
    "policy train D --base-model B --method sft --loss ipa": "--loss ipa with --method sft",
    "policy train D --base-model B --method kto --reference R --loss ipo": "--loss ipo with",
    "policy train D --base-model B --method orpo --reference R": "--reference with --method orpo",
    "policy train D --base-model B --preference p": "--preference without pref_po",
    "policy train D --base-model B --gold G": "--gold without --watch",
    "policy train D --base-model B --patience 2": "--patience without --watch",
    "policy train D --base-model B --watch R --eval-share 0": "--watch with eval_share 0",
    "policy train D --base-model B --max-eval-rows 9 --eval-share 0": "--max-eval-rows with",
    "policy train D --base-model B --project P --output-dir O": "--project beside --output-dir",
    "policy train D --base-model B --load-in-4bit": "--load-in-4bit without --lora-rank",
    "policy evaluate R --gold G": "--gold without --reward",
    "policy evaluate R --max-rows 9": "--max-rows without --data",
    "policy evaluate R --reward R --skip samples": "--reward or --prompts with --skip samples",
    "policy evaluate R --max-kl 1 --skip kl": "--max-kl with --skip samples or kl",
    "policy evaluate R --page-language zh": "--page-language zh without --html",
    "policy sample R P --out O --budget 1": "--budget with a policy of this machine",
    "policy sample offline P --out O --device cpu": "--device or --max-length with offline",
    "judge validate S --page-language zh": "--page-language zh without --html",
}


@pytest.mark.parametrize("line", IDLE)
def test_a_flag_that_would_do_nothing_is_refused(
    line: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = line.split()
    program: typer.Typer = app
    if words[0] == "judge":
        program, words = judge, words[1:]
    done = CliRunner().invoke(program, words)
    said = f"{done.exception} {done.output}"
    assert IDLE[line] in said, said
    assert "; expected " in said
    assert not list(tmp_path.iterdir())
