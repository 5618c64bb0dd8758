"""Protobuf's wire format: where the fields of a message lie in a file that is not to be trusted.

A message is a row of fields. Each begins with a varint that holds the field's number and the kind
of its value; a value is a varint, 4 or 8 bytes, or a length and so many bytes. Nothing is copied
but numbers and short texts: a field is a place in the file. It is stricter than the format asks:
what may stand once stands once, and a value of another kind than asked for is an error, not an
unknown field. So nobody who reads the file after us can find something else in it.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
LARGEST_TAG = (1 << 32) - 1
LARGEST_VARINT = (1 << 64) - 1
MOST_TEXT = 1 << 16
"""Longest text that is read, in bytes, unless the reader asks for more."""


class WireError(ValueError):
    """The bytes are no message, or one that is not read."""


class Field(NamedTuple):
    """One value: the number of a varint, or the bytes from `value` to `end` in the file."""

    kind: int
    value: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes the value has; 1 for a varint, which has at least so many."""
        return 1 if self.kind == VARINT else self.end - self.value


class Wire:
    """The bytes of a file. `most_fields` bounds how many fields are read in all of it."""

    def __init__(self, data: bytes | mmap.mmap, *, most_fields: int) -> None:
        self.data = data
        self.most_fields = most_fields
        self.fields_left = most_fields

    def message(self, start: int, end: int) -> Message:
        """Find the fields of the message from `start` to `end`."""
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
        self.spend(count)
        return Message(self, fields)

    def varint(self, start: int, end: int) -> tuple[int, int]:
        """Return the number that begins at `start`, and where it ends."""
        data = self.data
        if start < end and data[start] < 128:  # nearly all of them
            return data[start], start + 1
        number = shift = 0
        for place in range(start, min(end, start + 10)):
            byte = data[place]
            number |= (byte & 127) << shift
            if byte < 128:
                if number > LARGEST_VARINT:
                    break
                return number, place + 1
            shift += 7
        raise WireError(f"no number ends at byte {min(end, start + 10)}")

    def spend(self, count: int) -> None:
        """Count fields; a file of nothing but fields would take minutes and gigabytes."""
        self.fields_left -= count
        if self.fields_left < 0:
            raise WireError(f"it has more than {self.most_fields:,} fields")

    def _span(self, kind: int, start: int, end: int) -> tuple[int, int]:
        """Return where a value of a known length begins and ends."""
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
        """Return the values of a field that has bytes and may be repeated."""
        found = self.fields.get(number, [])
        for field in found:
            if field.kind != BYTES:
                raise WireError(f"field {number} is of another kind than it should be")
        return found

    def one(self, number: int) -> Field | None:
        """Return the value of a field that has bytes and stands once; None where it is absent."""
        found = self.many(number)
        if len(found) > 1:
            raise WireError(f"field {number} stands twice where it may stand once")
        return found[0] if found else None

    def messages(self, number: int) -> list[Message]:
        """Return the messages in a field that may be repeated."""
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
                self.wire.spend(1)
                value, start = self.wire.varint(start, field.end)
                found.append(_signed(value))
        return found

    def texts(self, number: int, *, most: int = MOST_TEXT) -> list[str]:
        """Return the texts in a field that may be repeated."""
        return [self._text(field, most) for field in self.many(number)]

    def text(self, number: int, *, most: int = MOST_TEXT) -> str:
        """Return the text in a field; empty where it is absent."""
        field = self.one(number)
        return "" if field is None else self._text(field, most)

    def _text(self, field: Field, most: int) -> str:
        if field.length > most:
            raise WireError(f"it has a text of {field.length:,} bytes where {most:,} are allowed")
        try:
            return self.wire.data[field.value : field.end].decode()
        except UnicodeDecodeError as error:
            raise WireError(f"the text at byte {field.value} is not UTF-8") from error


def _signed(value: int) -> int:
    """Read a varint as protobuf's int64."""
    return value - (1 << 64) if value >> 63 else value
