"""What is read and written: records, JSONL and whole files, and errors in words for people.

The records load on first use: they need pydantic, which `--help` does not.
"""

from typing import TYPE_CHECKING, Any

from reward_model.records.appending import Appender, locked, repair_tail
from reward_model.records.errors import Stopped, UserError, explain_os_error
from reward_model.records.files import (
    Line,
    check_plain,
    digest,
    dump_json,
    parse_json,
    read_jsonl,
    read_text,
    refuse_folder,
    write_json,
    write_jsonl,
    write_text,
    writing,
)
from reward_model.records.folders import (
    check_named,
    check_outputs,
    check_replaceable,
    is_folder,
    is_there,
)
from reward_model.records.objects import read_object, write_result

if TYPE_CHECKING:
    from reward_model.records.chat.messages import Message, Text, as_text
    from reward_model.records.schema import (
        IGNORE,
        SIDES,
        DefectMetadata,
        GoldMetadata,
        JudgeMetadata,
        Levels,
        Metadata,
        Pair,
        Planted,
        Scores,
        Side,
        SingleResponse,
        parse_record,
        read_pairs,
    )

__all__ = [
    "IGNORE",
    "SIDES",
    "Appender",
    "DefectMetadata",
    "GoldMetadata",
    "JudgeMetadata",
    "Levels",
    "Line",
    "Message",
    "Metadata",
    "Pair",
    "Planted",
    "Scores",
    "Side",
    "SingleResponse",
    "Stopped",
    "Text",
    "UserError",
    "as_text",
    "check_named",
    "check_outputs",
    "check_plain",
    "check_replaceable",
    "digest",
    "dump_json",
    "explain_os_error",
    "is_folder",
    "is_there",
    "locked",
    "parse_json",
    "parse_record",
    "read_jsonl",
    "read_object",
    "read_pairs",
    "read_text",
    "refuse_folder",
    "repair_tail",
    "write_json",
    "write_jsonl",
    "write_result",
    "write_text",
    "writing",
]


def __getattr__(name: str) -> Any:
    if name in __all__:  # what is not imported above is a record
        from reward_model.records import schema
        from reward_model.records.chat import messages

        return getattr(messages if hasattr(messages, name) else schema, name)
    raise AttributeError(f"module 'reward_model.records' has no attribute {name!r}")
