"""The wire format: valid messages are read, invalid and ambiguous ones refused."""

from __future__ import annotations

import pytest

from toolchain.runtime.onnxfile.protobuf import Message, Wire, WireError

NUMBER, EIGHT, BYTES, GROUP, FOUR = 0, 1, 2, 3, 5


def message(data: bytes, max_fields: int = 100) -> Message:
    return Wire(data, max_fields=max_fields).message(0, len(data))


def tag(number: int, kind: int) -> bytes:
    return bytes([number << 3 | kind])


def text(number: int, value: bytes) -> bytes:
    return tag(number, BYTES) + bytes([len(value)]) + value


def test_fields_are_found_in_any_order() -> None:
    found = message(
        text(2, b"two")
        + tag(1, NUMBER)
        + b"\x96\x01"
        + tag(3, FOUR)
        + bytes(4)
        + tag(4, EIGHT)
        + bytes(8)
        + text(5, b"a")
        + text(5, "ö".encode())
    )
    assert found.integer(1) == 150
    assert found.text(2) == "two"
    assert found.texts(5) == ["a", "ö"]
    assert (found.integer(9), found.text(9), found.texts(9), found.one(9)) == (0, "", [], None)
    assert sorted(found.fields) == [1, 2, 3, 4, 5]


def test_numbers_are_signed_and_packed_or_not() -> None:
    minus_one = b"\xff" * 9 + b"\x01"
    assert message(tag(1, NUMBER) + minus_one).integer(1) == -1
    loose = tag(1, NUMBER) + b"\x05" + tag(1, NUMBER) + minus_one
    assert message(loose).integers(1) == [5, -1]
    assert message(text(1, b"\x05" + minus_one)).integers(1) == [5, -1]


def test_nested_messages_are_read() -> None:
    found = message(text(1, text(2, b"in")) + text(1, b""))
    first, second = found.messages(1)
    assert (first.text(2), second.text(2)) == ("in", "")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (tag(1, NUMBER), "no number ends at byte 1"),
        (tag(1, NUMBER) + b"\x80\x80", "no number ends at byte 3"),
        (tag(1, NUMBER) + b"\xff" * 10 + b"\x01", "no number ends"),
        (tag(1, NUMBER) + b"\xff" * 9 + b"\x02", "no number ends"),
        (tag(1, BYTES) + b"\x05abcd", "it ends at byte 6, inside a value that goes to 7"),
        (tag(1, BYTES) + b"\xff" * 9 + b"\x01", "inside a value that goes to 18446744073709551626"),
        (tag(1, FOUR) + bytes(3), "it ends at byte 4"),
        (tag(1, EIGHT) + bytes(7), "it ends at byte 8"),
        (tag(1, GROUP), "no value of a known kind"),
        (b"\x00\x01", "no field begins at byte 0"),
        (b"\x88\x80\x80\x80\x80\x01\x01", "no field begins"),
    ],
)
def test_invalid_bytes_are_refused(data: bytes, error: str) -> None:
    with pytest.raises(WireError, match=error):
        message(data)


def test_a_nested_message_ends_inside_the_outer_one() -> None:
    outer = message(text(1, tag(1, BYTES) + b"\x04ab") + text(2, b"other"))
    with pytest.raises(WireError, match="a part of it ends at byte 6"):
        outer.message(1)


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (text(1, b"a") + text(1, b"b"), Message.one),
        (text(1, b"a") + text(1, b"b"), Message.text),
        (tag(1, NUMBER) + b"\x01" + tag(1, NUMBER) + b"\x02", Message.integer),
        (tag(1, NUMBER) + b"\x01", Message.text),
        (tag(1, NUMBER) + b"\x01", Message.messages),
        (text(1, b"a"), Message.integer),
        (tag(1, FOUR) + bytes(4), Message.integers),
        (text(1, b"\xff\xfe"), Message.text),
        (text(1, b"\x80"), Message.integers),
    ],
)
def test_ambiguous_field_is_refused(data: bytes, read: object) -> None:
    with pytest.raises(WireError):
        read(message(data), 1)  # type: ignore[operator]


def test_number_of_fields_and_length_of_texts_are_bounded() -> None:
    assert len(message(text(1, b"") * 100).many(1)) == 100
    with pytest.raises(WireError, match="more than 100 fields"):
        message(text(1, b"") * 101)
    with pytest.raises(WireError, match="4 bytes where 3 are allowed"):
        message(text(1, b"four")).text(1, max_bytes=3)


def test_bound_on_fields_applies_to_all_messages_together() -> None:
    found = message(text(1, text(1, b"") * 60) + text(2, text(1, b"") * 60), 100)
    assert len(found.messages(1)[0].many(1)) == 60
    with pytest.raises(WireError, match="more than 100 fields"):
        found.message(2)
    packed = message(text(1, bytes(101)))
    with pytest.raises(WireError, match="more than 100 fields"):
        packed.integers(1)
