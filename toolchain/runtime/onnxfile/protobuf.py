"""A strict reader of protobuf's wire format, for files that are not trusted.

A message is a sequence of fields. Each begins with a varint that holds the field's number and the
kind of its value; a value is a varint, 4 or 8 bytes, or a length and that many bytes. Only numbers
and short texts are copied: other values are positions in the file. The reader is stricter than the
format: a field that may occur once must not occur twice, and a value of an unexpected kind is an
error and not an unknown field. So onnxruntime can't read anything else in a file than was checked.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
LARGEST_TAG = (1 << 32) - 1
LARGEST_VARINT = (1 << 64) - 1
MAX_TEXT_BYTES = 1 << 16
"""Longest text that is read, unless the caller allows more."""


class WireError(ValueError):
    """The bytes are not a valid message, or one that this reader does not accept."""


class Field(NamedTuple):
    """The value of a field: the number of a varint, else the bytes from `value` to `end`."""

    kind: int
    value: int
    end: int

    @property
    def length(self) -> int:
        """The size of the value in bytes; 1 for a varint, which takes at least one."""
        return 1 if self.kind == VARINT else self.end - self.value


class Wire:
    """The bytes of a file; at most `max_fields` fields are read in all of it."""

    def __init__(self, data: bytes | mmap.mmap, *, max_fields: int) -> None:
        self.data = data
        self.max_fields = max_fields
        self.fields_left = max_fields

    def message(self, start: int, end: int) -> Message:
        """Return the message from byte `start` to `end`. Raises WireError where there is none."""
        fields: dict[int, list[Field]] = {}
        varint, count = self.varint, 0
        while start < end:
            count += 1
            if count > self.fields_left:
                break
            tag, start = varint(start, end)
            kind = tag & 7
            if tag < 8 or tag > LARGEST_TAG:
                raise WireError(f"no field begins at byte {start - 1}")
            if kind == VARINT:
                value, start = varint(start, end)
            else:
                value, start = self._span(kind, start, end)
            found = Field(kind, value, start)
            if tag >> 3 in fields:
                fields[tag >> 3].append(found)
            else:
                fields[tag >> 3] = [found]
        self.count_fields(count)
        return Message(self, fields)

    def varint(self, start: int, end: int) -> tuple[int, int]:
        """Return (number, position behind it) of the varint at `start`."""
        data = self.data
        if start < end and data[start] < 128:  # one byte: by far the most frequent case
            return data[start], start + 1
        number = shift = 0
        for position in range(start, min(end, start + 10)):
            byte = data[position]
            number |= (byte & 127) << shift
            if byte < 128:
                if number > LARGEST_VARINT:
                    break
                return number, position + 1
            shift += 7
        raise WireError(f"no number ends at byte {min(end, start + 10)}")

    def count_fields(self, count: int) -> None:
        """Add to the fields that were read before. Raises WireError above `max_fields`.

        Without a limit, a file of tiny fields would take minutes and gigabytes.
        """
        self.fields_left -= count
        if self.fields_left < 0:
            raise WireError(f"it has more than {self.max_fields:,} fields")

    def _span(self, kind: int, start: int, end: int) -> tuple[int, int]:
        """Return (start, end) of the bytes of a value that is not a varint."""
        if kind == BYTES:
            length, start = self.varint(start, end)
        elif kind in (FOUR_BYTES, EIGHT_BYTES):
            length = 4 if kind == FOUR_BYTES else 8
        else:
            raise WireError(f"no value of a known kind begins at byte {start}")
        if start + length > end:
            what = "it ends" if end == len(self.data) else "a part of it ends"
            raise WireError(f"{what} at byte {end}, inside a value that goes to {start + length}")
        return start, start + length


class Message:
    """The fields of one message, by their numbers."""

    def __init__(self, wire: Wire, fields: dict[int, list[Field]]) -> None:
        self.wire = wire
        self.fields = fields

    def many(self, number: int) -> list[Field]:
        """Return the values of a length-delimited field, which may be repeated."""
        found = self.fields.get(number, [])
        for field in found:
            if field.kind != BYTES:
                raise WireError(f"field {number} is of another kind than it should be")
        return found

    def one(self, number: int) -> Field | None:
        """Return the value of a length-delimited field; None where it is absent."""
        found = self.many(number)
        if len(found) > 1:
            raise WireError(f"field {number} stands twice where it may stand once")
        return found[0] if found else None

    def messages(self, number: int) -> list[Message]:
        """Return the messages in a field, which may be repeated."""
        return [self.wire.message(field.value, field.end) for field in self.many(number)]

    def message(self, number: int) -> Message | None:
        """Return the message in a field; None where it is absent."""
        field = self.one(number)
        return None if field is None else self.wire.message(field.value, field.end)

    def integer(self, number: int) -> int:
        """Return the number in a field; 0 where it is absent."""
        found = self.fields.get(number, [])
        if len(found) > 1 or any(field.kind != VARINT for field in found):
            raise WireError(f"field {number} is no single number")
        return _signed(found[0].value) if found else 0

    def integers(self, number: int) -> list[int]:
        """Return the numbers in a repeated field, packed or not."""
        found: list[int] = []
        for field in self.fields.get(number, []):
            if field.kind == VARINT:
                found.append(_signed(field.value))
                continue
            if field.kind != BYTES:
                raise WireError(f"field {number} is no row of numbers")
            start = field.value
            while start < field.end:
                self.wire.count_fields(1)
                value, start = self.wire.varint(start, field.end)
                found.append(_signed(value))
        return found

    def texts(self, number: int, *, max_bytes: int = MAX_TEXT_BYTES) -> list[str]:
        """Return the texts in a field, which may be repeated; each has at most `max_bytes`."""
        return [self._text(field, max_bytes) for field in self.many(number)]

    def text(self, number: int, *, max_bytes: int = MAX_TEXT_BYTES) -> str:
        """Return the text in a field of at most `max_bytes`; empty where it is absent."""
        field = self.one(number)
        return "" if field is None else self._text(field, max_bytes)

    def _text(self, field: Field, max_bytes: int) -> str:
        if field.length > max_bytes:
            raise WireError(
                f"it has a text of {field.length:,} bytes where {max_bytes:,} are allowed"
            )
        try:
            return self.wire.data[field.value : field.end].decode()
        except UnicodeDecodeError as error:
            raise WireError(f"the text at byte {field.value} is not UTF-8") from error


def _signed(value: int) -> int:
    """Return a varint as protobuf's int64."""
    return value - (1 << 64) if value >> 63 else value
