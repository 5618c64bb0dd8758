"""All errors of rtl, with the exit code of the command line for each.

ToolchainError
├── SettingsError       2   an argument or a setting is wrong; it is a ValueError too
├── DataError           3   a folder, list or split can't be used; nothing was written
├── ImageError          4   one image can't be read
├── ModelFileError      5   not exported by rtl, damaged, or its card is newer than this rtl
├── ParityError         6   verification failed
├── PartialFailure      7   some images of a batch could not be read
├── ProviderError       8   the provider asked for is missing, or nodes fell back
├── MissingExtraError   9   an optional part of rtl is not installed
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
    """An argument or a setting is unknown or out of its bounds; the message names it."""

    exit_code = 2


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
    """A part of rtl that is installed separately is missing."""

    exit_code = 9

    def __init__(self, what: str, extra: str) -> None:
        """`what` is the missing package, `extra` the extra of rtl that installs it."""
        super().__init__(f"{what} is not installed", hint=f'pip install "rtl-toolchain[{extra}]"')
        self._arguments = (what, extra)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str], dict[str, Any]]:
        """Pickle to the two arguments: `args` holds the message alone."""
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
