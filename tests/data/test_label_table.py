"""A CSV as a data set: both ways to write labels, all ways to split, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.data.layouts import Dataset, read_dataset
from toolchain.data.splits import position
from toolchain.errors import DataError
from toolchain.runtime.card import Task


def put(root: Path, *names: str) -> None:
    """Create files under a folder. Layouts depend on names only, so the files are no images."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded")


def write(root: Path, *lines: str, name: str = "labels.csv") -> Path:
    """Write a CSV, and put every file that it names in its first column."""
    put(root, *(cell for line in lines[1:] if (cell := line.split(",")[0].strip())))
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / name


def classes_of(dataset: Dataset, split: str) -> dict[str, tuple[str, ...]]:
    """File → names of its classes, of one split."""
    return {
        dataset.name_of(s.path): tuple(dataset.classes[i] for i in s.labels)
        for s in dataset.split(split)
    }


def everything(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    splits = ("train", "val", "test")
    return {name: own for s in splits for name, own in classes_of(dataset, s).items()}


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_dataset(path, "multi-label")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


TRAIN = ("img/1.jpg,cat;dog,train", "img/2.jpg,dog,training", "img/3.jpg,,Train")
VAL = ("img/4.jpg,cat,val",)


def test_names_in_one_column_give_each_image_its_classes(tmp_path: Path) -> None:
    write(tmp_path, "file,labels,split", *TRAIN, *VAL)
    dataset = read_dataset(tmp_path, "multi-label")
    assert (dataset.task, dataset.classes, dataset.root) == (
        "multi-label",
        ("cat", "dog"),
        tmp_path,
    )
    assert [sample.label for sample in dataset.train] == [(0, 1), (1,), ()]
    assert classes_of(dataset, "val") == {"img/4.jpg": ("cat",)}
    assert dataset.split_by == "the column 'split' of labels.csv"


def test_a_column_for_each_class_means_the_same(tmp_path: Path) -> None:
    write(tmp_path / "a", "file,labels,split", *TRAIN, *VAL)
    write(
        tmp_path / "b",
        "file,dog,cat,split",
        "img/1.jpg,1,1,train",
        "img/2.jpg,1,0,train",
        "img/3.jpg,0,0,train",
        "img/4.jpg,0,1,valid",
    )
    a, b = (read_dataset(tmp_path / name, "multi-label") for name in "ab")
    assert everything(a) == everything(b)
    assert a.classes == b.classes


@pytest.mark.parametrize("column", ["file", "Path", "IMAGE", "filename"])
def test_the_column_of_the_file_may_stand_anywhere(column: str, tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    lines = ("1,cat;dog,train,1.jpg", "2,cat,val,2.jpg")
    (tmp_path / "labels.csv").write_text("\n".join([f",labels,split,{column}", *lines]))
    assert everything(read_dataset(tmp_path, "multi-label")) == {
        "1.jpg": ("cat", "dog"),
        "2.jpg": ("cat",),
    }


def test_the_first_column_with_a_name_is_the_file_where_none_is_called_so(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text(",id,a,b,split\n0,1.jpg,1,1,train\n1,2.jpg,0,1,val\n")
    dataset = read_dataset(tmp_path, "multi-label")
    assert everything(dataset) == {"1.jpg": ("a", "b"), "2.jpg": ("b",)}


@pytest.mark.parametrize("cell", ["cat;dog", "dog|cat", " cat ; dog ;", "dog;cat;dog"])
def test_names_are_separated_by_semicolon_or_bar(cell: str, tmp_path: Path) -> None:
    write(tmp_path, "file,labels,split", f"1.jpg,{cell},train", "2.jpg,cat,val")
    assert classes_of(read_dataset(tmp_path, "multi-label"), "train") == {"1.jpg": ("cat", "dog")}


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False")])
def test_flags_may_be_written_as_pandas_writes_them(yes: str, no: str, tmp_path: Path) -> None:
    write(tmp_path, "file,a,b,split", f"1.jpg,{yes},{yes},train", f"2.jpg,{no},{yes},val")
    assert classes_of(read_dataset(tmp_path, "multi-label"), "val") == {"2.jpg": ("b",)}


def test_a_table_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "my, cat.jpg")
    content = 'file,labels,split\r\n1.jpg,cat;dog,train\r\n\r\n"my, cat.jpg",cat,val\r\n,,\r\n'
    (tmp_path / "labels.csv").write_bytes(content.encode("utf-8-sig"))
    assert everything(read_dataset(tmp_path, "multi-label")).keys() == {"1.jpg", "my, cat.jpg"}


def many(count: int) -> list[str]:
    names = ("cat", "dog", "cat;dog", "")
    return [f"{number:03}.jpg,{names[number % 4]}" for number in range(count)]


def test_one_table_without_splits_is_split_about_7_1_2(tmp_path: Path) -> None:
    write(tmp_path, "file,labels", *many(400))
    dataset = read_dataset(tmp_path, "multi-label")
    shares = [len(dataset.split(split)) / 400 for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.05)
    assert dataset.split_by == "7:1:2 by a stable hash of each file's name"


def test_added_lines_and_their_order_move_no_old_image(tmp_path: Path) -> None:
    lines = many(400)
    write(tmp_path / "few", "file,labels", *lines[:200])
    write(tmp_path / "many", "file,labels", *reversed(lines))
    few, all_of_them = (read_dataset(tmp_path / n, "multi-label") for n in ("few", "many"))
    for split in ("train", "val", "test"):
        assert classes_of(few, split).items() <= classes_of(all_of_them, split).items()


def test_a_rare_class_is_moved_to_training_and_split_by_reports_it(tmp_path: Path) -> None:
    name = next(f"{n}.jpg" for n in range(1000, 2000) if position(f"{n}.jpg") > 0.8)
    write(tmp_path, "file,labels", *many(100), f"{name},owl")
    dataset = read_dataset(tmp_path, "multi-label")
    assert classes_of(dataset, "train")[name] == ("owl",)
    assert "1 moved so that the splits meet every class" in dataset.split_by


def test_tables_named_for_splits_are_taken_together(tmp_path: Path) -> None:
    write(tmp_path, "file,labels", "1.jpg,cat;dog", name="train.csv")
    write(tmp_path, "file,dog,cat", "2.jpg,0,1", name="validation.csv")
    write(tmp_path, "file,labels", "3.jpg,", name="test.csv")
    for path in (tmp_path, tmp_path / "train.csv"):
        dataset = read_dataset(path, "multi-label")
        assert classes_of(dataset, "val") == {"2.jpg": ("cat",)}
        assert classes_of(dataset, "test") == {"3.jpg": ()}
        assert dataset.split_by == "the tables train.csv, validation.csv, test.csv"


def test_a_training_table_alone_gets_one_in_eight_carved_for_validation(tmp_path: Path) -> None:
    write(tmp_path, "file,labels", *many(200), name="train.csv")
    dataset = read_dataset(tmp_path, "multi-label")
    assert 10 <= len(dataset.val) <= 40
    assert len(dataset.train) + len(dataset.val) == 200
    assert "one in eight" in dataset.split_by


def test_any_csv_can_be_named(tmp_path: Path) -> None:
    table = write(tmp_path, "file,labels", *many(100), name="my notes.CSV")
    assert len(everything(read_dataset(table, "multi-label"))) == 100


def test_folders_beside_the_table_change_nothing(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg")
    write(tmp_path, "file,labels", *many(100))
    assert len(everything(read_dataset(tmp_path, "multi-label"))) == 100


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1.jpg,cat", "2.jpg,dog"], "line 1: 1.jpg is an image; the first line names"),
        (["file,split", "1.jpg,train"], "line 1: 'file, split' names no classes"),
        (["file:cat:dog", "1.jpg:1:0"], "names no classes"),
        (["file,cat,cat", "1.jpg,1,0"], "several columns are called 'cat'"),
        (["file,labels,cat", "1.jpg,cat,1"], "beside 'labels' stand cat"),
        (["file,labels", "1.jpg,cat,dog"], "line 2: 3 cells, where the header has 2"),
        (["file,labels", "1.jpg,cat", "2.jpg"], "line 3: 1 cells"),
        (["file,cat,dog", "1.jpg,1,maybe"], "line 2: 'maybe' in column 'dog' is not 0 or 1"),
        (["file,cat,dog", "1.jpg,1,"], "line 2: '' in column 'dog' is not 0 or 1"),
        (["file,labels,split", "1.jpg,cat,holdout"], "line 2: 'holdout' is not a split"),
        (["file,labels", "1.jpg,cat", "", "./1.jpg,dog"], "line 4: ./1.jpg stands in line 2"),
        (["file,labels", ",cat"], "line 2: no file"),
        (["file,labels", '1.jpg,"cat'], "line 2: unexpected end of data"),
        (["file,labels"], "no training images"),
        ([""], "is empty"),
    ],
)
def test_a_wrong_table_is_refused_by_file_and_line(
    lines: list[str], message: str, tmp_path: Path
) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    error = refusal(tmp_path / "labels.csv")
    assert message in str(error)


@pytest.mark.parametrize("name", ["gone.jpg", "x" * 300])
def test_a_file_that_does_not_exist_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    (tmp_path / "labels.csv").write_text(f"file,labels\n1.jpg,cat\n{name},dog\n")
    error = refusal(tmp_path / "labels.csv")
    assert f"line 3: {tmp_path / name} does not exist" in str(error)
    assert str(tmp_path) in str(error.hint)


def test_all_wrong_lines_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    wrong = ("gone.jpg,cat", "2.jpg,dog", "1.jpg,dog", "2.jpg")
    (tmp_path / "labels.csv").write_text("\n".join(("file,labels", "1.jpg,cat", *wrong)))
    error = refusal(tmp_path / "labels.csv")
    gone = tmp_path / "gone.jpg"
    assert str(error).endswith(f"line 3: {gone} does not exist; other lines are wrong: 5, 6")
    assert str(tmp_path) in str(error.hint)
    many = [f"{number}.gone,cat" for number in range(1000)]
    (tmp_path / "labels.csv").write_text("\n".join(("file,labels", *many)))
    words = "other lines are wrong: 3, 4, 5, 6, 7 and 994 more"
    assert str(refusal(tmp_path / "labels.csv")).endswith(words)


def test_a_class_without_a_training_image_is_refused_and_named(tmp_path: Path) -> None:
    for lines in (
        ("file,labels,split", "1.jpg,cat;dog,train", "2.jpg,owl,val"),
        ("file,cat,dog,owl,split", "1.jpg,1,1,0,train", "2.jpg,0,0,0,val"),
    ):
        write(tmp_path, *lines)
        assert "no training image has the class owl" in str(refusal(tmp_path))


@pytest.mark.parametrize(("cell", "message"), [("cat", "only one class, 'cat'"), ("", "no class")])
def test_fewer_than_two_classes_are_refused(cell: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, "file,labels", f"1.jpg,{cell}", f"2.jpg,{cell}")
    assert message in str(refusal(tmp_path))


def test_a_table_for_a_split_with_a_column_for_it_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "file,labels,split", *TRAIN, name="train.csv")
    assert "column 'split'" in str(refusal(tmp_path))


def test_validation_without_training_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path, "file,labels", "1.jpg,cat;dog", name="val.csv")
    assert "no training images" in str(refusal(table))


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    (tmp_path / "labels.csv").write_bytes("file,labels\n1.jpg,crème\n".encode("latin-1"))
    assert "UTF-8" in str(refusal(tmp_path / "labels.csv"))


def test_too_few_images_to_validate_on_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "file,labels", "1.jpg,cat", "2.jpg,dog")
    error = refusal(tmp_path)
    assert "too few" in str(error)
    assert "val.csv" in str(error.hint)


def test_a_folder_without_a_table_is_refused_with_the_layout(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "notes.csv")
    error = refusal(tmp_path)
    assert "no labels.csv and no train.csv" in str(error)
    assert "labels.csv with a header: file, and labels" in str(error.hint)


def test_a_list_is_no_table(tmp_path: Path) -> None:
    put(tmp_path, "train.txt")
    assert "is no CSV" in str(refusal(tmp_path / "train.txt"))


@pytest.mark.parametrize("path", ["gone", "gone.csv"])
def test_a_missing_path_is_refused_with_the_layout(path: str, tmp_path: Path) -> None:
    assert "labels.csv" in str(refusal(tmp_path / path).hint)


def test_a_table_without_the_task_is_refused_with_the_option(tmp_path: Path) -> None:
    table = write(tmp_path, "file,labels", *(f"img/{line}" for line in many(100)))
    for path in (table, tmp_path):  # the folder holds one other folder, which is no class
        with pytest.raises(DataError, match=r"labels\.csv") as caught:
            read_dataset(path)
        assert caught.value.hint == "--task multi-label"


def test_class_folders_with_a_table_beside_them_are_still_class_folders(tmp_path: Path) -> None:
    put(tmp_path, *(f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(20)))
    (tmp_path / "labels.csv").write_text("file,labels\n")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.task == "single-label"


@pytest.mark.parametrize("header", ["image,class", "image,labels"])
def test_two_unicode_forms_of_a_name_are_one_class(header: str, tmp_path: Path) -> None:
    names = ("caf\u00e9", "cafe\u0301", "dog")
    rows = (f"{number}.jpg,{names[number % 3]}" for number in range(40))
    write(tmp_path, header, *rows)
    task: Task = "single-label" if header == "image,class" else "multi-label"
    assert read_dataset(tmp_path, task).classes == ("caf\u00e9", "dog")


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_the_only_csv_of_a_folder_is_its_table_whatever_it_is_called(
    tmp_path: Path, task: Task
) -> None:
    rows = [f"{i}.jpg,{'cat' if i % 2 else 'dog'}" for i in range(40)]
    write(tmp_path, "file,labels", *rows, name="data.csv")
    assert len(everything(read_dataset(tmp_path, task))) == 40
