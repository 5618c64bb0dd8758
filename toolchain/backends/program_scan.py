"""Checks the JSON texts of a .pt2 file, parts of which torch evaluates as Python.

torch.export looks up the functions that a graph calls by their dotted names, `torch.os.system` too,
evaluates the expressions of free axes, and imports the classes of enums. So each of these may only
say what an exported classifier says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

FUNCTION = re.compile(r"torch\.ops\.aten\.\w+\.\w+")
"""The functions that a graph may call: torch's own operators."""
FILE_FUNCTIONS = re.compile(r"torch\.ops\.aten\.(save|load|from_file)\b.*")
EXPRESSION = re.compile(
    r"-?\d+|[a-z]\d+"
    r"|Symbol\('[a-z]\d+'(, (positive|nonnegative|integer|real)=True)*\)"
)
"""The length of an axis: a number, or a symbol."""
ARGUMENTS = frozenset(
    f"as_{kind}"
    for kind in (
        *("none", "tensor", "tensors", "optional_tensor", "optional_tensors", "name"),
        *("int", "ints", "float", "floats", "bool", "bools", "string", "strings"),
        *("sym_int", "sym_ints", "sym_bool", "expr"),
        *("scalar_type", "memory_format", "layout", "device"),
    )
)
"""Kinds of arguments; others hold operators, graphs or pickled objects."""
CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
TENSOR_FILE = re.compile(r"(weight|tensor)_\d+")


class UnsafeProgramError(ValueError):
    """A JSON text that torch must not read; the text says why."""


def require_plain_program(text: bytes) -> None:
    """Raise UnsafeProgramError for a graph (models/*.json) that could run more than a model."""
    for key, value in _entries(_parsed(text)):
        if key == "target":
            _require(FUNCTION, value, "calls")
            if FILE_FUNCTIONS.fullmatch(value):
                raise UnsafeProgramError(f"calls {value!r}")
        elif key == "expr_str":
            _require(EXPRESSION, value, "has an axis of the length")
        elif key in ("in_spec", "out_spec"):
            _require_plain_containers(value)
        elif key.startswith("as_") and key not in ARGUMENTS:
            raise UnsafeProgramError(f"has an argument of the kind {key[:40]!r}")
        elif key in ("guards_code", "custom_obj_values") and value:
            raise UnsafeProgramError(f"holds {key}")


def require_raw_tensors(text: bytes) -> None:
    """Raise UnsafeProgramError where a list of weights or constants names a pickle."""
    parsed = _parsed(text)
    config = parsed.get("config") if isinstance(parsed, dict) else None
    entries = list(config.values()) if isinstance(config, dict) else [None]
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use_pickle") is not False:
            raise UnsafeProgramError("holds a tensor that is pickled")
        _require(TENSOR_FILE, entry.get("path_name"), "names the tensor")


def _require_plain_containers(text: Any) -> None:
    """Raise for the description of a tree (JSON in JSON) with other containers than Python's."""
    for key, value in _entries(_parsed(text)) if text else ():
        if key == "type" and value not in CONTAINERS:
            raise UnsafeProgramError(f"has a container of the type {str(value)[:40]!r}")
        if key == "context" and value not in (None, "null") and not _is_list_of_texts(value):
            raise UnsafeProgramError("has a container that needs other classes")


def _is_list_of_texts(text: Any) -> bool:
    found = _parsed(text)
    return isinstance(found, list) and all(isinstance(entry, str) for entry in found)


def _require(pattern: re.Pattern[str], value: Any, what: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise UnsafeProgramError(f"{what} {str(value)[:60]!r}")


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnsafeProgramError("is no JSON") from error


def _entries(parsed: Any) -> Iterator[tuple[str, Any]]:
    """Yield every (key, value) of all objects in a parsed JSON text."""
    waiting = [parsed]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from found.items()
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
