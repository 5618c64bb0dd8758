"""Recognises the format of bytes for error messages, and counts the scans of a JPEG, both without
decoding."""

from __future__ import annotations

import re

# The first bytes of a file → its description. Formats that Pillow reads are here too: one of them
# that it could not read is damaged.
STARTS = (
    (b"\xff\xd8", "a damaged or unsupported JPEG"),
    (b"\x89PNG\r\n\x1a\n", "a damaged PNG"),
    (b"GIF8", "a damaged GIF"),
    (b"BM", "a damaged BMP"),
    (b"II*\0", "a damaged or unsupported TIFF"),
    (b"MM\0*", "a damaged or unsupported TIFF"),
    (b"II+\0", "a damaged or unsupported BigTIFF"),
    (b"MM\0+", "a damaged or unsupported BigTIFF"),
    (b"\0\0\0\x0cjP  ", "a damaged or unsupported JPEG 2000"),
    (b"\0\0\1\0", "a damaged ICO"),
    (b"%PDF", "a PDF, not an image"),
    (b"%!PS", "PostScript, not an image"),
    (b"\xc5\xd0\xd3\xc6", "PostScript, not an image"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\5\x16\7", "a macOS resource fork, not an image"),
    (b"PK\3\4", "a ZIP archive, not an image"),
    (b"\x1f\x8b", "a gzip archive, not an image"),
    (b"\x93NUMPY", "a NumPy array, not an image"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM), not an image"),
    (b"\0\0\1\xba", "a video (MPEG), not an image"),
    (b"\0\0\1\xb3", "a video (MPEG), not an image"),
    (b"FLV\1", "a video (Flash), not an image"),
    (b"OggS", "sound or a video (Ogg), not an image"),
    (b"ID3", "sound (MP3), not an image"),
    (b"fLaC", "sound (FLAC), not an image"),
    (b"\xd0\xcf\x11\xe0", "an Office document, not an image"),
    (b"{\\rtf", "an RTF document, not an image"),
    (b"7z\xbc\xaf", "a 7z archive, not an image"),
    (b"Rar!", "a RAR archive, not an image"),
    (b"BZh", "a bzip2 archive, not an image"),
    (b"\xfd7zXZ", "an xz archive, not an image"),
    (b"SQLite format 3", "a database, not an image"),
    (b"PAR1", "a Parquet file, not an image"),
    (b"\x7fELF", "a program, not an image"),
    (b"MZ", "a program, not an image"),
    (b"\xff\x0a", "a JPEG XL, which Pillow can't decode"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL, which Pillow can't decode"),
    (b"qoif", "a QOI, which rtl does not read"),
    (b"version https://git-lfs", "a Git LFS pointer, not the image: git lfs pull fetches it"),
)
# Brands of ISO base media files, which have `ftyp` at byte 4.
BRANDS = {
    b"avif": "a damaged AVIF",
    b"avis": "a damaged AVIF",
    b"isom": "a video, not an image",
    b"mp41": "a video, not an image",
    b"mp42": "a video, not an image",
    b"qt  ": "a video, not an image",
    b"M4V ": "a video, not an image",
    b"3gp4": "a video, not an image",
    b"3gp5": "a video, not an image",
    b"iso2": "a video, not an image",
    b"avc1": "a video, not an image",
    b"M4A ": "sound, not an image",
}
HEIC = "a HEIC or similar container, which Pillow can't decode"

# A JPEG marker that is followed by a length: the byte after 0xFF is no stuffed zero, fill byte or
# restart marker.
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])", re.DOTALL)
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9


def describe_bytes(data: bytes) -> str:
    """Return what a file seems to be, for one that could not be read as an image.

    >>> describe_bytes(b"%PDF-1.7 ...")
    'a PDF, not an image'
    """
    for start, description in STARTS:
        if data.startswith(start):
            return description
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12], HEIC)
    if data[:4] == b"RIFF":
        return "a damaged WebP" if data[8:12] == b"WEBP" else "sound or a video, not an image"
    if data[128:132] == b"DICM":
        return "a DICOM file"
    return _describe_text(data) or "no known image format"


def _describe_text(data: bytes) -> str | None:
    plain = data[:512].removeprefix(b"\xef\xbb\xbf")
    start = plain.lstrip().lower()
    if start.startswith(b"<") and b"<svg" in start:
        return "an SVG drawing, not an image of pixels"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")):
        return "a web page, not an image"
    if start.startswith(b"<"):
        return "XML or HTML, not an image"
    if start.startswith((b"{", b"[")) and _is_ascii(plain[:64]):
        return "JSON, not an image"
    return "text, not an image" if _is_ascii(plain[:64]) else None


def _is_ascii(data: bytes) -> bool:
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data)


def has_many_scans(data: bytes, limit: int) -> bool:
    """Return whether a JPEG has more scans than `limit`.

    Each scan is a pass over all pixels, and an empty one takes a few bytes: without a limit, a file
    of 1 MB keeps a decoder busy for minutes.
    """
    scans, position, components, progressive = 0, 2, -1, False
    while scans <= limit and (match := MARKER.search(data, position)):
        marker, position = match[1][0], match.end()
        if marker == END_OF_IMAGE or position + 8 > len(data):
            break
        if marker in START_OF_FRAME:
            progressive, components = marker in PROGRESSIVE, data[position + 7]
        if marker == START_OF_SCAN:
            scans += 1
            # A sequential JPEG whose first scan has all components has no second one. And where
            # the marker occurs less than `limit` times, walking over the compressed data, which is
            # slow, can't find more scans than that.
            complete = not progressive and data[position + 2] == components
            if complete or (scans == 1 and data.count(b"\xff\xda", position) < limit):
                break
        position += int.from_bytes(data[position : position + 2], "big")
    return scans > limit
