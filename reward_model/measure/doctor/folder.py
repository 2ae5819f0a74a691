"""What can be seen in a model folder before anything of it is loaded; see `run` beside it.

Weights that carry code or are missing, the precision they are stored in, the labels of the
configuration against the rubric, the chat template: each is a file to look at.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from reward_model.data.split import SPLIT, read_split
from reward_model.measure.doctor.findings import Finding, note, ok, problem
from reward_model.records import UserError, read_object
from reward_model.rubrics import Rubric

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.joblib", "*.ckpt")
HALF = {"F16": "float16", "BF16": "bfloat16"}


def split(folder: Path) -> list[Finding]:
    """Which texts were held out, where the folder says so."""
    if not any((place / SPLIT).exists() for place in (folder, folder.parent)):
        return []
    try:
        read_split(folder)
    except UserError as error:
        return [
            problem(
                "split",
                error.found,
                "nobody can tell which texts were trained on: evaluate and calibrate stop there",
                "copy split.json of the run again, whole",
            )
        ]
    return []


def code(folder: Path) -> Finding:
    """Files that run something when they are loaded."""
    carriers = sorted(path for kind in (*PICKLES, "*.py") for path in folder.rglob(kind))
    names = [path.relative_to(folder).as_posix() for path in carriers]
    names += [
        f"auto_map in {path.relative_to(folder).as_posix()}"
        for path in sorted(folder.rglob("*config.json"))
        if _names_code(read_object(path))
    ]
    if not names:
        return ok("code", "safetensors only, nothing that runs when loaded")
    return problem(
        "code",
        f"{', '.join(names)}: files that can carry code",
        "loading a pickle or a custom class runs whatever its author put there",
        "they are never loaded here; remove them, so that nobody else loads them",
    )


def _names_code(value: object) -> bool:
    """Whether a configuration, or one inside it, names classes of its own."""
    if not isinstance(value, dict):
        return False
    return "auto_map" in value or any(map(_names_code, value.values()))


def weights(folder: Path) -> tuple[list[Finding], bool]:
    """Whether there are safetensors and what precision they are in; False where none can be read.

    Half precision is a note: scoring loads weights in what this machine computes in.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return [
            problem(
                "weights",
                "no *.safetensors in the folder",
                "there is nothing to score with that is safe to load",
                "copy the folder again, whole, or save the model with save_pretrained, which "
                "writes safetensors",
            )
        ], False
    index = (read_object(folder / "model.safetensors.index.json") or {}).get("weight_map")
    named = set(map(str, index.values())) if isinstance(index, dict) else set()
    missing = sorted(named - {path.name for path in files})
    if missing:
        return [
            problem(
                "weights",
                f"no {', '.join(missing)}, which model.safetensors.index.json names",
                "a part of the weights is not there, so nothing can be loaded",
                "copy the folder again, whole",
            )
        ], False
    kinds: Counter[str] = Counter()
    heads: set[str] = set()
    try:
        for path in files:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - a handle, not a mapping
                    kind = file.get_slice(name).get_dtype()
                    kinds[kind] += 1
                    if name.startswith("heads."):
                        heads.add(kind)
    except (OSError, SafetensorError) as error:
        return [
            problem(
                "weights",
                f"{path.name} cannot be read ({error})",
                "a copy was cut short or the file is something else",
                "copy the folder again, whole, or train again",
            )
        ], False
    findings = []
    half = sorted(HALF[kind] for kind in kinds if kind in HALF)
    if heads & HALF.keys():
        findings.append(
            problem(
                "precision",
                f"the heads are stored in {' and '.join(half)}",
                "levels are decided by small differences of logits, which half precision rounds "
                "away for good",
                "save the model again with the heads in float32, as training does",
            )
        )
    elif half:
        findings.append(
            note(
                "precision",
                f"weights stored in {' and '.join(half)}",
                "on a CPU they are read as float32, at twice the memory of the file",
            )
        )
    return findings, True


def label_map(config: dict[str, Any], rubric: Rubric) -> Finding:
    """Names, order and number of the heads, against the rubric that says what they mean."""
    names, levels = config.get("dimensions"), config.get("num_levels", rubric.classes)
    mend = "put back the rubric.json and config.json that training wrote together"
    if names != list(rubric.names):
        same = isinstance(names, list) and sorted(map(str, names)) == sorted(rubric.names)
        return problem(
            "label map",
            f"the heads are {_join(names)}, the rubric has {_join(rubric.names)}",
            "the score of one dimension would be read as another's"
            if same
            else "heads and rubric are of different models",
            mend,
        )
    if levels != rubric.classes:
        return problem(
            "label map",
            f"heads of {levels} levels, a rubric of {rubric.classes} (0 to {rubric.scale})",
            "an expected level would be on another scale than the rubric's",
            mend,
        )
    named = config.get("id2label")
    if isinstance(named, dict):
        said = [str(named[key]) for key in sorted(named, key=_as_number)]
        usual = [f"LABEL_{i}" for i in range(len(said))]
        if said not in (list(rubric.names), usual):
            return problem(
                "label map",
                f"id2label says {_join(said)}, the heads are {_join(rubric.names)}",
                "programs that name outputs by id2label would name them wrongly",
                "remove id2label and label2id from config.json, or give the names in the order of "
                "the heads",
            )
    return ok("label map", f"{_join(rubric.names)}, levels 0 to {rubric.scale}")


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer of a folder brings a template, in any of its places."""
    if any((folder / name).exists() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return bool((read_object(folder / "tokenizer_config.json") or {}).get("chat_template"))


def chat_template(folder: Path, config: dict[str, Any]) -> Finding | None:
    """A template that the inputs need and the folder does not have."""
    if config.get("input_format") != "chat" or has_chat_template(folder):
        return None
    return problem(
        "chat template",
        "none, but the model was trained with one",
        "its inputs cannot be built as in training, so nothing can be scored",
        "copy chat_template.jinja (or tokenizer_config.json) from the base model",
    )


def rubric_of(folder: Path) -> tuple[Rubric | None, Finding | None]:
    """The rubric of a trained model, or what is wrong with it.

    Raises:
        UserError: the folder is none of a trained model.
    """
    from reward_model.model.folder import RUBRIC, read_rubric

    try:
        return read_rubric(folder), None
    except UserError as error:
        if error.path is None or error.path.name != RUBRIC:
            raise
        return None, problem(
            "rubric",
            str(error),
            "without it nobody knows what the levels mean",
            "copy rubric.json from the training output",
        )


def _join(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, (list, tuple)) and names else "none"


def _as_number(key: str) -> int:
    return int(key) if str(key).isdigit() else 0
