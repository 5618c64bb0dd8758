"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain.errors import DataError
from toolchain.files import (
    as_url,
    atomic_file,
    display_path,
    json_text,
    keep_result,
    require_writable,
    unicode_name,
    write_bytes,
    write_text,
)


def test_an_atomic_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    with atomic_file(path) as temporary:
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_atomic_file_keeps_the_old_content_on_an_error(
    kind: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("ha")
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_an_atomic_file_has_the_permissions_of_any_new_file(
    umask: int, mode: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "a")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_text_is_written_in_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "crème 寿司")
    assert (tmp_path / "a.txt").read_bytes() == "crème 寿司".encode()


@pytest.fixture
def umask_022() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("private", "folder", "file"), [(False, 0o755, 0o644), (True, 0o700, 0o600)]
)
@pytest.mark.usefixtures("umask_022")
def test_private_files_and_their_new_folder_are_for_the_owner_alone(
    private: bool, folder: int, file: int, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "a.bin"
    write_bytes(path, b"content", private=private)
    assert path.read_bytes() == b"content"
    assert path.parent.stat().st_mode & 0o777 == folder
    assert path.stat().st_mode & 0o777 == file


def test_a_place_for_a_file_is_writable_where_its_folders_can_be_made(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "folder" / "file.json")
    (tmp_path / "old.json").write_text("{}")
    require_writable(tmp_path / "old.json")
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


def test_a_place_that_is_a_folder_below_a_file_or_forbidden_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a folder, not a file"):
        require_writable(tmp_path)
    with pytest.raises(DataError, match=r"here can't be written: .*file is not a folder"):
        require_writable(tmp_path / "file" / "here")
    # Root may write everywhere, so the answer of the system is replaced.
    monkeypatch.setattr("os.access", lambda *arguments: False)
    with pytest.raises(DataError, match="no permission to write in"):
        require_writable(tmp_path / "here")


def test_names_that_are_not_utf8_are_escaped_in_json_only() -> None:
    assert unicode_name("caf\udce9 寿") == "caf\\xe9 寿"
    value = {"caf\udce9": ["a\udcff.jpg", 1, None], "line": "a\nb\x7f"}
    assert json.loads(json_text(value)) == {
        "caf\\xe9": ["a\\xff.jpg", 1, None],
        "line": "a\nb\x7f",
    }


def test_a_path_is_shown_where_there_is_no_home_and_no_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(Path, "home", none)
    assert display_path(Path("/a/b")) == "/a/b"


@pytest.mark.parametrize("url", ["https://host/a/b.zip", "s3://bucket/run", "hf://owner/model"])
def test_a_url_has_its_slashes_whether_it_was_made_a_path_or_not(url: str) -> None:
    assert as_url(url) == as_url(Path(url)) == url


@pytest.mark.parametrize("path", ["a/b", "C:/photos", "/x:/y", "http", "a b:/c", ":/x"])
def test_paths_are_no_urls(path: str) -> None:
    assert as_url(path) is None


def test_a_folder_that_is_called_like_a_url_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("http:/x").mkdir(parents=True)
    assert as_url("http://x") is None
    require_writable(Path("http:/x/y"))


def test_no_file_is_written_below_a_folder_named_for_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="s3://bucket/x can't be written: it is a URL"):
        require_writable(Path("s3://bucket/x"))
    assert not list(tmp_path.iterdir())


def test_the_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught, atomic_file(tmp_path / "model.onnx"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_result_that_cannot_be_written_is_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "bench").write_text("a file")
    with pytest.raises(DataError, match="can't be written") as caught:
        keep_result(tmp_path / "bench" / "cpu.json", {"p50_ms": 1.5})
    assert caught.value.result == {"p50_ms": 1.5}
