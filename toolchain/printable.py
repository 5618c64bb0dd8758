"""Texts that are safe to print and to paste, whatever the names of files and classes are."""

from __future__ import annotations

import shlex

LAST_OF_BASIC_PLANE = 0xFFFF
"""Of Unicode; JSON escapes what comes after it as two halves."""
KEPT = frozenset("\u00a0\u202f\u3000\u200c\u200d")
"""Spaces and joiners that names in many languages need; they are no danger to a terminal."""


def printable(text: str) -> str:
    """Return a text without what would move a terminal's cursor or begin another line.

    That is every control character, line separator and lone surrogate, and the marks that turn the
    direction of a text around.

    >>> printable("one\\x1b[2J\\nline")
    'one [2J line'
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else " " for letter in text)


def printable_lines(text: str) -> str:
    """Return a text as `printable`, with its line ends kept."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """Return a JSON text with what is not printable escaped; it parses to the same values.

    >>> printable_json('{"file": "a\\x9b2J.jpg"}')
    '{"file": "a\\\\u009b2J.jpg"}'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter == "\n" or _is_harmless(letter) else _json_escape(letter)
        for letter in text
    )


def ascii_json(text: str) -> str:
    """Return a JSON text in ASCII: other letters stand in strings only, where JSON has escapes."""
    return "".join(letter if letter.isascii() else _json_escape(letter) for letter in text)


def shell_word(word: str) -> str:
    """Return a word as a shell reads it, in printable characters only.

    >>> shell_word("my photos"), shell_word("a\\x1b[2J.jpg")
    ("'my photos'", "$'a\\\\x1b[2J.jpg'")
    """
    if all(map(_is_harmless, word)):
        return shlex.quote(word)
    # The bytes of the name, in the quotes of bash and zsh that know escapes.
    letters = (
        letter if _is_harmless(letter) and letter not in "'\\" else _byte_escapes(letter)
        for letter in word
    )
    return f"$'{''.join(letters)}'"


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in KEPT


def _json_escape(letter: str) -> str:
    code = ord(letter)
    if code <= LAST_OF_BASIC_PLANE:
        return f"\\u{code:04x}"
    high, low = divmod(code - LAST_OF_BASIC_PLANE - 1, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _byte_escapes(letter: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))


def shell_words(*words: object) -> str:
    """Return a command for a shell, each word quoted where it has to be.

    A name with letters that can't be shown, or with bytes that are not UTF-8, is written as bash
    and zsh read it, so that the command names the same file.

    >>> shell_words("rtl", "it's", "a\\nb")
    'rtl \\'it\\'"\\'"\\'s\\' $\\'a\\\\x0ab\\''
    """
    return " ".join(shell_word(str(word)) for word in words)
