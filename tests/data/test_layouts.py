"""From a path to labelled samples: every supported layout, and the errors for others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolchain.data.layouts import Dataset, read_dataset
from toolchain.errors import DataError


def put(root: Path, *names: str) -> Path:
    """Create files under a folder. Layouts depend on names only, so the files are no images."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded")
    return root


def put_class(root: Path, folder: str, count: int, *, start: int = 0) -> None:
    put(root, *(f"{folder}/{number:03}.jpg" for number in range(start, start + count)))


def labels(dataset: Dataset, split: str) -> dict[str, str]:
    """File → class name, of one split."""
    return {
        dataset.name_of(sample.path): dataset.classes[index]
        for sample in dataset.split(split)
        for index in sample.labels
    }


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def split_folders(tmp_path: Path) -> Path:
    """Train, val and test of two classes."""
    root = tmp_path / "food"
    for split in ("train", "val", "test"):
        put(root, f"{split}/apple/1.jpg", f"{split}/pear/2.jpg")
    return root


def test_split_folders_are_used_as_they_are(split_folders: Path) -> None:
    dataset = read_dataset(split_folders)
    assert dataset.classes == ("apple", "pear")
    for split in ("train", "val", "test"):
        assert labels(dataset, split) == {
            f"{split}/apple/1.jpg": "apple",
            f"{split}/pear/2.jpg": "pear",
        }


def test_test_folder_may_be_missing(split_folders: Path) -> None:
    shutil.rmtree(split_folders / "test")
    dataset = read_dataset(str(split_folders))
    assert dataset.test == ()
    assert len(dataset.val) == 2


@pytest.mark.parametrize("alias", ["valid", "validation"])
def test_other_names_of_the_validation_folder_are_known(alias: str, split_folders: Path) -> None:
    (split_folders / "val").rename(split_folders / alias)
    dataset = read_dataset(split_folders)
    assert set(labels(dataset, "val")) == {f"{alias}/apple/1.jpg", f"{alias}/pear/2.jpg"}
    assert f"{alias}/" in dataset.split_by


def test_class_missing_from_val_shifts_no_label(split_folders: Path) -> None:
    shutil.rmtree(split_folders / "val" / "apple")
    dataset = read_dataset(split_folders)
    assert labels(dataset, "val") == {"val/pear/2.jpg": "pear"}
    assert dataset.classes == ("apple", "pear")


@pytest.mark.parametrize("split", ["val", "test"])
def test_class_that_train_lacks_is_refused_and_named(split: str, split_folders: Path) -> None:
    put(split_folders, f"{split}/quince/1.jpg")
    error = refusal(split_folders)
    assert f"{split} has classes that train lacks: quince" in str(error)


def test_train_alone_gets_one_in_eight_carved_for_validation(tmp_path: Path) -> None:
    put_class(tmp_path, "train/apple", 80)
    put_class(tmp_path, "train/pear", 80)
    dataset = read_dataset(tmp_path)
    assert 10 <= len(dataset.val) <= 30
    assert len(dataset.train) + len(dataset.val) == 160
    assert {s.path for s in dataset.train}.isdisjoint(s.path for s in dataset.val)
    assert "one in eight" in dataset.split_by


def test_too_few_images_to_carve_from_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/apple/1.jpg", "train/pear/1.jpg")
    assert "too few" in str(refusal(tmp_path))


@pytest.fixture
def one_folder(tmp_path: Path) -> Path:
    root = tmp_path / "fruit"
    put_class(root, "apple", 400)
    put_class(root, "pear", 200)
    put_class(root, "plum", 100)
    return root


def splits_of(dataset: Dataset) -> dict[str, str]:
    splits = ("train", "val", "test")
    return {dataset.name_of(s.path): split for split in splits for s in dataset.split(split)}


def test_one_folder_is_split_about_7_1_2_in_every_class(one_folder: Path) -> None:
    dataset = read_dataset(one_folder)
    for label, count in zip(dataset.classes, (400, 200, 100), strict=True):
        shares = {
            split: sum(name == label for name in labels(dataset, split).values()) / count
            for split in ("train", "val", "test")
        }
        assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.08)
        assert sum(shares.values()) == pytest.approx(1)


def test_added_images_and_classes_move_no_old_image(one_folder: Path) -> None:
    before = splits_of(read_dataset(one_folder))
    put_class(one_folder, "apple", 50, start=400)
    put_class(one_folder, "cherry", 50)
    after = splits_of(read_dataset(one_folder))
    assert len(after) == len(before) + 100
    assert {name: after[name] for name in before} == before


def test_split_does_not_depend_on_the_location(one_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(one_folder, tmp_path / "elsewhere" / "copy")
    copied = read_dataset(tmp_path / "elsewhere" / "copy")
    assert splits_of(copied) == splits_of(read_dataset(one_folder))


def test_deeper_folders_belong_to_their_class(tmp_path: Path) -> None:
    put(tmp_path, "train/apple/2023/may/1.jpg", "train/pear/1.jpg", "val/pear/1.jpg")
    found = labels(read_dataset(tmp_path), "train")
    assert found["train/apple/2023/may/1.jpg"] == "apple"


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / "gone")
    assert "no such folder" in str(error)
    assert "train/" in str(error.hint)


@pytest.mark.parametrize("names", [[], ["notes.txt"], ["1.jpg", "2.jpg"], ["apple/readme.md"]])
def test_folder_without_class_images_is_refused(names: list[str], tmp_path: Path) -> None:
    put(tmp_path, *names)
    error = refusal(tmp_path)
    assert "no images found" in str(error)
    assert "a folder for each class" in str(error.hint)


def test_one_class_is_refused_and_named(tmp_path: Path) -> None:
    put_class(tmp_path, "apple", 30)
    assert "only one class, 'apple'" in str(refusal(tmp_path))


def test_val_and_test_without_train_are_no_classes(split_folders: Path) -> None:
    # Else a model would be trained to tell the validation images from the test images.
    for split in ("val", "test"):
        put_class(split_folders, f"{split}/apple", 30)
    shutil.rmtree(split_folders / "train")
    refusal(split_folders)


def test_split_folders_in_capitals_are_no_classes(tmp_path: Path) -> None:
    for split in ("Train", "Val"):
        put_class(tmp_path, f"{split}/apple", 30)
        put_class(tmp_path, f"{split}/pear", 30)
    try:
        dataset = read_dataset(tmp_path)
    except DataError:
        return
    assert dataset.classes == ("apple", "pear")


def test_class_of_one_image_is_in_train_and_a_second_image_in_val(tmp_path: Path) -> None:
    put_class(tmp_path, "apple", 50)
    put(tmp_path, "pear/7.jpg")  # its name falls into the test split
    put(tmp_path, "plum/1.jpg", "plum/2.jpg")
    dataset = read_dataset(tmp_path)
    pears = {s: [i for i in dataset.split(s) if i.label == 1] for s in ("train", "val", "test")}
    assert [len(pears[split]) for split in ("train", "val", "test")] == [1, 0, 0]
    assert 2 in {sample.label for sample in dataset.train}
    assert 2 in {sample.label for sample in dataset.val}


def test_hidden_files_and_folders_are_left_out(split_folders: Path) -> None:
    before = read_dataset(split_folders)
    put(
        split_folders,
        "train/apple/._1.jpg",
        "train/apple/.thumbnails/1.jpg",
        "train/.ipynb_checkpoints/1.jpg",
        "train/apple/Thumbs.db",
        "train/apple/notes.txt",
    )
    assert read_dataset(split_folders) == before


@pytest.mark.parametrize("name", ["A.JPG", "b.Jpeg", "c.PNG", "d.webp", "e.tiff", "f g.bmp"])
def test_usual_suffixes_are_images_in_any_case(name: str, split_folders: Path) -> None:
    put(split_folders, f"train/apple/{name}")
    assert f"train/apple/{name}" in labels(read_dataset(split_folders), "train")


def test_symlinked_files_and_class_folders_count(split_folders: Path, tmp_path: Path) -> None:
    put(tmp_path, "store/1.jpg", "more/2.jpg")
    (split_folders / "train/pear/linked.jpg").symlink_to(tmp_path / "store/1.jpg")
    (split_folders / "train/plum").symlink_to(tmp_path / "more")
    found = labels(read_dataset(split_folders), "train")
    assert found["train/pear/linked.jpg"] == "pear"
    assert found["train/plum/2.jpg"] == "plum"


def test_link_back_to_the_parent_does_not_loop(split_folders: Path) -> None:
    (split_folders / "train/apple/loop").symlink_to(split_folders)
    assert len(read_dataset(split_folders).train) == 2


def test_nothing_is_decoded_and_labels_follow_sorted_names(tmp_path: Path) -> None:
    put(tmp_path, "train/b/1.jpg", "train/a/1.jpg", "train/C/1.jpg", "val/a/1.jpg")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("C", "a", "b")
    assert [s.label for s in dataset.train] == sorted(s.label for s in dataset.train)


def write_list(root: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    (root / name).write_bytes("\n".join(lines).encode(encoding))
    return root / name


def test_lists_give_path_and_label_even_with_spaces(tmp_path: Path) -> None:
    put(tmp_path, "img/my apple.jpg", "img/pear (1).jpg", "img/x.jpg")
    write_list(tmp_path, "train.txt", "img/my apple.jpg apple", "img/pear (1).jpg pear")
    write_list(tmp_path, "val.txt", "./img/x.jpg pear")
    dataset = read_dataset(tmp_path)
    assert labels(dataset, "train") == {"img/my apple.jpg": "apple", "img/pear (1).jpg": "pear"}
    assert labels(dataset, "val") == {"img/x.jpg": "pear"}
    assert dataset.split_by == "the lists train.txt, val.txt"


def test_lists_from_windows_with_comments_and_blank_lines_are_read(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    content = "# made by hand\r\n\r\na/1.jpg apple\r\nb/1.jpg pear  \r\n"
    (tmp_path / "train.txt").write_bytes(content.encode("utf-8-sig"))
    write_list(tmp_path, "val.txt", "a/1.jpg apple")
    found = read_dataset(tmp_path)
    assert labels(found, "train") == {"a/1.jpg": "apple", "b/1.jpg": "pear"}


def test_numbers_become_folder_names_where_each_has_its_own(tmp_path: Path) -> None:
    put(tmp_path, "food/pear/1.jpg", "food/apple/1.jpg", "food/apple/2.jpg")
    write_list(tmp_path, "train.txt", "./food/pear/1.jpg 0", "./food/apple/1.jpg 1")
    write_list(tmp_path, "val.txt", "./food/apple/2.jpg 1")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("apple", "pear")
    assert labels(dataset, "train")["food/pear/1.jpg"] == "pear"
    assert labels(dataset, "val") == {"food/apple/2.jpg": "apple"}


def test_numbers_stay_and_sort_as_numbers_where_folders_do_not_match_them(tmp_path: Path) -> None:
    put(tmp_path, *(f"all/{number}.jpg" for number in range(12)))
    write_list(tmp_path, "train.txt", *(f"all/{number}.jpg {number}" for number in range(12)))
    write_list(tmp_path, "val.txt", "all/3.jpg 3")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == tuple(f"{number:02}" for number in range(12))
    assert labels(dataset, "val") == {"all/3.jpg": "03"}


def test_train_and_test_lists_get_validation_from_train(tmp_path: Path) -> None:
    for folder in ("apple", "pear"):
        put_class(tmp_path, folder, 80)
    lines = [f"{label}/{n:03}.jpg {label}" for label in ("apple", "pear") for n in range(80)]
    write_list(tmp_path, "train.txt", *lines[:-10])
    write_list(tmp_path, "test.txt", *lines[-10:])
    dataset = read_dataset(tmp_path)
    assert len(dataset.test) == 10
    assert 8 <= len(dataset.val) <= 30
    assert len(dataset.train) + len(dataset.val) == 150


def test_one_list_file_can_be_the_data_set(tmp_path: Path) -> None:
    for folder in ("apple", "pear"):
        put_class(tmp_path, folder, 80)
    lines = [f"{label}/{n:03}.jpg {label}" for label in ("apple", "pear") for n in range(80)]
    dataset = read_dataset(write_list(tmp_path, "my list.txt", *lines))
    assert len(dataset.train) + len(dataset.val) == 160
    assert dataset.name_of(dataset.train[0].path).startswith("apple/")


@pytest.mark.parametrize(
    ("line", "message"),
    [("apple.jpg", "is not `path label`"), ("gone.jpg apple", "does not exist")],
)
def test_bad_line_of_a_list_is_named_by_its_number(line: str, message: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    file = write_list(tmp_path, "train.txt", "a.jpg apple", "", line)
    error = refusal(tmp_path)
    assert f"{file}, line 3" in str(error)
    assert message in str(error)


def test_list_label_that_train_lacks_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    write_list(tmp_path, "train.txt", "1.jpg apple", "2.jpg pear")
    write_list(tmp_path, "val.txt", "3.jpg quince")
    assert "quince" in str(refusal(tmp_path))


def test_list_in_another_encoding_is_a_data_error(tmp_path: Path) -> None:
    put(tmp_path, "crème.jpg", "b.jpg")
    write_list(tmp_path, "train.txt", "crème.jpg a", "b.jpg b", encoding="latin-1")
    refusal(tmp_path)


def test_archive_in_place_of_the_folder_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK\x03\x04\xff\xfe\x80\x81" + bytes(range(256)))
    refusal(tmp_path / "data.zip")


def test_images_outside_the_folder_keep_their_whole_path_as_name(tmp_path: Path) -> None:
    put(tmp_path, "store/a/1.jpg", "store/b/1.jpg")
    (tmp_path / "lists").mkdir()
    lines = [f"{tmp_path}/store/{label}/1.jpg {label}" for label in "ab"]
    for name in ("train.txt", "val.txt"):
        write_list(tmp_path / "lists", name, *lines)
    dataset = read_dataset(tmp_path / "lists")
    assert dataset.name_of(dataset.train[0].path) == f"{tmp_path}/store/a/1.jpg"
