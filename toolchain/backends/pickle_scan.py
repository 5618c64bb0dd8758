"""Which names a pickle calls, read from its opcodes without running it.

Unpickling calls whatever functions a pickle names. So a pickle inside a model file may name only
what tensors are rebuilt with, and may use only the opcodes that torch writes.
"""

from __future__ import annotations

import pickletools
import re

TENSOR_NAMES = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        "torch Size",
        "torch device",
        *(
            f"torch {kind}Storage"
            for kind in (
                *("BFloat16", "Bool", "Byte", "Char", "Double"),
                *("Float", "Half", "Int", "Long", "Short"),
            )
        ),
    }
)
"""What torch names to rebuild tensors; none of it does anything else."""
SCRIPT_NAMES = re.compile(r"__torch__\.(?!torch\.classes\b)[\w.]+ \w+|torch\.jit\._pickle \w+")
"""The classes that a TorchScript archive defines in its own code, and TorchScript's lists."""
OPCODES = frozenset(
    {
        *("PROTO", "STOP", "FRAME", "MARK", "POP", "POP_MARK", "DUP"),
        *("NONE", "NEWTRUE", "NEWFALSE", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET", "MEMOIZE"),
        *("GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    }
)
"""Those that torch writes. STACK_GLOBAL, INST, OBJ and EXT name functions in other ways."""


class UnsafePickleError(ValueError):
    """A pickle that must not be opened; the text says why."""


def require_tensors_only(data: bytes, *, script: bool = False) -> None:
    """Raise UnsafePickleError for a pickle that names anything but tensors.

    With `script` the classes of a TorchScript archive are allowed too.
    """
    end = -1
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name not in OPCODES:
                raise UnsafePickleError(f"uses the opcode {opcode.name}, which torch does not")
            if opcode.name == "GLOBAL" and not _is_allowed(str(argument), script):
                raise UnsafePickleError(f"would run {str(argument)[:80].replace(' ', '.')!r}")
            end = -1 if position is None else position
    except UnsafePickleError:
        raise
    except Exception as error:  # pickletools raises exceptions of several types on damaged bytes
        raise UnsafePickleError("is damaged") from error
    if end + 1 != len(data):
        raise UnsafePickleError("goes on after its end")


def _is_allowed(name: str, script: bool) -> bool:
    return name in TENSOR_NAMES or (script and SCRIPT_NAMES.fullmatch(name) is not None)
