"""`make quick` leaves tests out by a list of files, which has to keep up with the tree."""

from __future__ import annotations

from tests.quick import SLOW, TESTS, is_left_out


def test_every_listed_file_exists() -> None:
    assert [name for name in SLOW if not (TESTS / name).exists()] == []


def test_no_file_is_listed_twice() -> None:
    paths = [TESTS / name for name in SLOW]
    assert len(set(paths)) == len(paths)
    assert [path for path in paths if set(path.parents) & set(paths)] == []


def test_slow_files_are_not_even_imported_where_they_are_left_out() -> None:
    quick, slow = TESTS / "test_quick.py", TESTS / SLOW[0]
    marks = "not slow and not environment"
    assert [is_left_out(path, marks) for path in (quick, slow)] == [False, True]
    assert not is_left_out(slow, "")
    assert not is_left_out(slow, "slow")


def test_every_room_keeps_a_quick_test() -> None:
    listed = {TESTS / name for name in SLOW}
    rooms = {path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}
    quick = {
        path.relative_to(TESTS).parts[0]
        for path in TESTS.glob("*/**/test_*.py")
        if not listed & {path, *path.parents}
    }
    assert rooms - quick == {"demo"}  # its pictures are learned from, which takes its time
