"""All errors of rtl, with the exit code of the command line for each.

ToolchainError
├── SettingsError       2   an argument or a setting is wrong; it is a ValueError too
├── DataError           3   a folder, list or split can't be used; nothing was written
├── ImageError          4   one image can't be read
├── ModelFileError      5   not exported by rtl, damaged, or its card is newer than this rtl
├── ParityError         6   verification failed
├── PartialFailure      7   some images of a batch could not be read
├── ProviderError       8   the provider asked for is missing, or nodes fell back
├── MissingExtraError   9   an optional part of rtl is not installed, or can't be imported
├── RefusedError        10  the measured result of a step is not accepted
├── TrainingError       11  training can't start or go on
├── OutputError         12  the command is done, but what it printed could not be written
└── Interrupted         130 the user stopped the command; 143 for SIGTERM, 129 for SIGHUP

Every message says what is wrong and where; `hint` says what to do about it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Reporter = Literal["rank zero", "this process", "another process"]
"""Which of several processes that train together prints an error that they have."""

MAX_SHOWN = 120
"""Characters of a name or value in a message; a caller may pass a whole file by mistake."""


def shortened(text: str) -> str:
    """Return a text as messages show it: of a long one the beginning and the end.

    >>> len(shortened("a" * 57_000))
    120
    """
    if len(text) <= MAX_SHOWN:
        return text
    end = MAX_SHOWN // 3
    return f"{text[: MAX_SHOWN - end - 1]}…{text[-end:]}"


def shown_value(value: object) -> str:
    """Return the `repr` of a value as messages show it, without writing out what is large."""
    if isinstance(value, str | bytes | bytearray) and len(value) > MAX_SHOWN:
        value = value[: MAX_SHOWN * 2]  # the repr of a whole file would take its size several times
    try:
        return shortened(repr(value))
    except Exception:  # a repr of somebody else's may raise anything
        return f"a {type(value).__name__}"


class ToolchainError(Exception):
    """An error that a user can understand and act on."""

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.reporter: Reporter = "rank zero"
        self.result: Any = None
        """What was done in spite of the error; `toolchain.export` puts the files kept here."""


class SettingsError(ToolchainError, ValueError):
    """An argument or a setting is unknown, out of bounds or can't work; the message names it."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        setting: str | None = None,
        instead: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.setting = setting
        """The setting of `rtl finetune` that is refused; None for other arguments."""
        self.instead = instead
        """Changes of settings that would work, one of them is enough."""


class DataError(ToolchainError):
    """A folder, list or split can't be used; nothing was written."""

    exit_code = 3


class ImageError(ToolchainError):
    """An image can't be read; `accepted` describes what can be."""

    exit_code = 4
    accepted: ClassVar[str] = (
        "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, ICO and PPM in 8-bit colour or 16-bit "
        "grey; or a uint8 array [height, width, 3] in RGB"
    )


class ModelFileError(ToolchainError):
    """A model file was not exported by rtl, is damaged, or its card is newer than this rtl."""

    exit_code = 5


class ParityError(ToolchainError):
    """A model file does not compute what the model that it was exported from computes."""

    exit_code = 6


class PartialFailure(ToolchainError):
    """A batch is finished, but some of its images could not be read."""

    exit_code = 7


class ProviderError(ToolchainError):
    """The onnxruntime provider asked for is missing, or nodes fell back to another."""

    exit_code = 8


class MissingExtraError(ToolchainError):
    """A part of rtl that is installed separately is missing, or can't be imported."""

    exit_code = 9

    def __init__(self, what: str, extra: str, reason: str | None = None) -> None:
        """`what` is the package, `extra` the extra of rtl that installs it.

        `reason` says why it can't be imported, for a package that is installed.
        """
        package = f'"rtl-toolchain[{extra}]"' if extra else "rtl-toolchain"
        message, hint = f"{what} is not installed", f"pip install {package}"
        if reason is not None:
            message = f"{what} is installed and can't be imported: {reason}"
            hint = f"pip install --force-reinstall {package}"
        if reason is not None and "DLL load failed" in reason:
            hint += "; on Windows it needs Microsoft's Visual C++ runtime too"
        super().__init__(message, hint=hint)
        self.what, self.reason = what, reason
        self._arguments = (what, extra, reason)

    def __reduce__(
        self,
    ) -> tuple[type[MissingExtraError], tuple[str, str, str | None], dict[str, Any]]:
        """Pickle to the arguments: `args` holds the message alone."""
        return type(self), self._arguments, self.__dict__


class RefusedError(ToolchainError):
    """The measured result of a step is not accepted."""

    exit_code = 10


class TrainingError(ToolchainError):
    """Training can't start or can't go on."""

    exit_code = 11


class OutputError(ToolchainError):
    """The command is done and its files are whole, but its output could not be written."""

    exit_code = 12


class Interrupted(ToolchainError):
    """The user stopped the command; `hint` is the command that continues it."""

    exit_code = 130


class StopSignal(KeyboardInterrupt):
    """A signal that asks the command to end, as Ctrl-C does: SIGTERM or SIGHUP."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(f"stopped by {name}")
        self.exit_code = 128 + number
        """What a shell shows for a process that the signal has ended."""


def stop_reason(stop: BaseException | None) -> str:
    """Return in one or three words why a command was stopped: Ctrl-C, or a signal by its name."""
    return str(stop) if isinstance(stop, StopSignal) else "interrupted"
