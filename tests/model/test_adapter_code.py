"""An adapter on a model with code of its own: no code is run, and the message says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_models import save_encoder

pytest.importorskip("peft")

from reward_model.model.adapter import load_adapter
from reward_model.records import UserError


def adapter(folder: Path, base: Path, kind: str | None = None) -> Path:
    made = save_encoder(folder)
    config = json.loads((made / "config.json").read_text())
    if kind is not None:
        config["backbone_config"]["model_type"] = kind
    (made / "config.json").write_text(json.dumps(config))
    (made / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    return made


def test_an_adapter_on_custom_code_is_refused_in_words(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    ran = tmp_path / "ran"
    (base / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass C: pass\n")
    names = {"AutoConfig": "own.C", "AutoModel": "own.C"}
    (base / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": names}))
    shutil.copyfile(base / "own.py", base / "modeling_own.py")
    with pytest.raises(UserError, match="a backbone of type own, which transformers does not have"):
        load_adapter(adapter(tmp_path / "one", base, "own"))
    with pytest.raises(UserError, match="an adapter that does not fit"):
        load_adapter(adapter(tmp_path / "two", base))
    assert not ran.exists()
