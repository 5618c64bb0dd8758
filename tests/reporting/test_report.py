"""`rtl report`: a page for any run, whatever is missing, that loads nothing and changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.conftest import Rtl, tree_digest
from tests.reporting.made_run import CLASSES, made_run, page_of, rewritten
from toolchain.display import percent
from toolchain.errors import DataError, SettingsError
from toolchain.files import write_json
from toolchain.reporting.report import report
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.selection import Selection, measured
from toolchain.runtime.card import Alignment


def test_a_run_becomes_one_page_that_asks_for_nothing_else(run: RunFolder, rtl_here: Rtl) -> None:
    done = rtl_here("report", run.path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == str(run.report)
    page = page_of(run)
    for part in ("data", "training", "results", "mistakes", "parity", "speed", "again"):
        assert f'<section id="{part}">' in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {source[:5] for source in sources if not source.startswith("#")} == {"data:"}
    assert "url(" not in page
    assert "over-fitting" in page  # the diagnosis
    assert "up to 250" in page  # one loss far above the others is cut off, and named


def test_what_was_chosen_is_shown_with_its_figures_and_reason(run: RunFolder) -> None:
    report([run.path])
    assert "was chosen" not in page_of(run)
    source = Selection(
        asked={"weights": ["food.pth", "<steel>.pth"]},
        chosen={"weights": "food.pth"},
        reason="the probe tells it from the others",
        folds=5,
        measured=[
            measured("food.pth", 40, 36, "chosen"),
            measured("<steel>.pth", 40, 24, "worse", p=0.001),
        ],
        seconds=2.0,
    )
    strategy = Selection(
        asked={"budget": "2m"},
        chosen={"strategy": "partial"},
        reason="nothing left could win",
        folds=5,
        measured=[measured("partial", 40, 38, "chosen"), measured("full", 0, 0, "not tried")],
        seconds=90.0,
        source=source,
    )
    write_json(run.selection, msgspec.to_builtins(strategy))
    report([run.path])
    page = page_of(run)
    assert page.index("The source model was chosen") < page.index("The strategy was chosen")
    for text in ("the probe tells it", "nothing left could win", percent(0.9), "&lt;steel&gt;.pth"):
        assert text in page
    run.selection.write_text("{")
    report([run.path])
    assert "selection.json" in page_of(run)


def test_a_run_for_another_camera_says_so_and_judges_no_curves(run: RunFolder) -> None:
    other = Alignment(method="mmd", target_sha256="0" * 64, target_images=153, labelled_images=9)
    run.write_card(msgspec.structs.replace(run.read_card(), aligned=other))
    rows = [json.loads(line) for line in run.metrics.read_text("utf-8").splitlines()]
    rows[-1]["summary"]["findings"] = []
    run.metrics.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    report([run.path])
    page = page_of(run)
    assert "to 153 photographs of another camera, 9 of them labelled, by mmd" in page
    assert "The curves show nothing wrong" not in page
    assert "the last epoch was kept" in page
    training = page.partition('id="training"')[2].partition("</section>")[0]
    assert "kept epoch" in training
    assert "best epoch" not in training
    caution = "the model is for another camera, and these images are not of it"
    assert page.count(caution) == 2  # in the sentence and beside the figure
    evaluation = json.loads(run.evaluation.read_bytes())
    write_json(run.evaluation, {**evaluation, "as_trained": False})
    report([run.path])
    assert caution not in page_of(run)
    run.evaluation.unlink()  # the figures of training are left
    report([run.path])
    assert page_of(run).count(caution) == 2
    assert f"rtl evaluate {run.path} --data LABELLED_PHOTOGRAPHS" in page_of(run)
    run.write_card(
        msgspec.structs.replace(
            run.read_card(), aligned=msgspec.structs.replace(other, method="none")
        )
    )
    report([run.path])
    page = page_of(run)
    assert "no: 9 labelled photographs of another camera are training images" in page
    assert caution not in page
    assert "The curves show nothing wrong" in page


def test_leaks_are_named_beside_the_accuracy_that_they_raise(run: RunFolder) -> None:
    report([run.path])
    assert "so it is too high" not in page_of(run)
    audit = json.loads(run.audit.read_bytes())
    audit["leaks"] = [["train/0/9.jpg", "val/0/0.jpg"], ["train/0/8.jpg", "val/0/1.jpg"]]
    write_json(run.audit, audit)
    report([run.path])
    top = page_of(run).partition('id="data"')[0]
    caution = "2 images are in more than one split of the data, so it is too high"
    assert top.count(caution) == 2  # in the sentence and beside the figure


def test_every_number_of_the_matrix_leads_to_its_photographs(run: RunFolder) -> None:
    report([run.path])
    page = page_of(run)
    links = set(re.findall(r'href="#(cell-\d+-\d+)"', page))
    assert len(links) >= len(CLASSES)
    evaluation = json.loads(run.evaluation.read_bytes())
    for link in links:
        _, row, column = link.split("-")
        part = re.search(rf'id="{link}"(.*?)</details>', page, re.DOTALL)
        assert part is not None
        assert part.group(1).count("<img") == evaluation["confusion"][int(row)][int(column)]


def test_what_users_name_is_text_in_the_page(tmp_path: Path, data: Path) -> None:
    hostile = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "\u202etxt\x1b[2J")
    odd = [f"val/{n}/{'<b>' if i else '&amp;'}{i}\u2066.jpg" for n in range(3) for i in range(4)]
    made = made_run(tmp_path / "<i>run", data, hostile, odd)
    report([made.path])
    page = page_of(made)
    assert page.count("<script>") == 1  # its own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"<b>\d|<i>run|<img src=x", page)
    assert not set("\u202e\u2066\x1b") & set(page)


def test_a_run_without_an_evaluation_says_how_to_get_one(tmp_path: Path, data: Path) -> None:
    made = made_run(tmp_path / "bare", data, CLASSES, [], evaluated=False)
    for file in (made.metrics, made.audit):
        file.unlink()
    written = report([made.path])
    assert any("rtl evaluate" in line for line in written.missing)
    assert f"rtl evaluate {made.path}" in page_of(made)
    assert f"rtl evaluate {made.path} --data" not in page_of(made)
    data.rename(tmp_path / "moved")
    report([made.path])
    assert f"rtl evaluate {made.path} --data DATA" in page_of(made)
    assert "no metrics.jsonl" in page_of(made)


def test_images_that_are_gone_are_said_to_be_and_found_again(
    run: RunFolder, data: Path, tmp_path: Path
) -> None:
    moved = data.rename(tmp_path / "elsewhere")
    written = report([run.path])
    assert written.pictures == 0
    assert [line for line in written.missing if "--data" in line]
    assert f"{data} is no longer there" in page_of(run)
    assert report([run.path], data=str(moved)).pictures > 20


def test_images_of_a_run_without_an_evaluation_that_are_gone_are_said_to_be(
    tmp_path: Path, data: Path
) -> None:
    made = made_run(tmp_path / "bare", data, CLASSES, [], evaluated=False)
    assert not [line for line in report([made.path]).missing if "--data" in line]
    data.rename(tmp_path / "elsewhere")
    [line] = [line for line in report([made.path]).missing if "--data" in line]
    assert f"{data} is no longer there" in line
    assert not any("--data" in line for line in report([made.path], pictures=False).missing)


def test_a_place_of_the_images_that_does_not_exist_is_refused(
    run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        report([run.path], data=str(tmp_path / "nowhere"))
    assert not run.report.exists()


def test_nothing_but_the_page_is_written(run: RunFolder, data: Path, tmp_path: Path) -> None:
    before = tree_digest(data), tree_digest(run.path)
    report([run.path], tmp_path / "page.html")
    assert (tree_digest(data), tree_digest(run.path)) == before


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["run", "-o", "photos/page.html"], 3, "would lie in the data"),
        (["run", "-o", "run/card.json"], 2, "does not end in .html"),
        (["run", "-o", "run/card.json/x.html"], 3, "card.json is not a folder"),
        (["photos"], 3, "is not a finished run"),
        (["run", "run", "nowhere"], 3, "no such run folder"),
        (["run", "--bench", "run/card.json"], 3, "card.json is damaged"),
    ],
)
def test_what_can_t_be_done_is_one_line_and_writes_nothing(
    run: RunFolder, tmp_path: Path, rtl_here: Rtl, words: list[str], status: int, message: str
) -> None:
    before = tree_digest(tmp_path)
    done = rtl_here("report", *words)
    assert done.returncode == status
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in error
    assert tree_digest(tmp_path) == before


def test_a_damaged_part_is_named_and_the_others_stand(run: RunFolder) -> None:
    run.evaluation.write_text("{")
    run.metrics.write_text("[1]\n")
    run.audit.write_bytes(b"\xff")
    run.bench.mkdir()
    run.bench_result("cpu").write_text("{}")
    model = run.export / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(b"a model")
    model.with_name("model.onnx.parity.json").write_text('{"sha256": 1}')
    written = report([run.path])
    for name in ("evaluation.json", "metrics.jsonl", "audit.json", "cpu.json"):
        assert [line for line in written.missing if f"{name} is damaged" in line], name
    assert "0 of 1" in page_of(run)
    assert "model.onnx.parity.json is damaged" in page_of(run)


def test_a_report_for_another_file_does_not_count_as_verified(run: RunFolder) -> None:
    model = run.export / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(b"a model")
    parity = {
        "model": "model.onnx", "sha256": "0" * 64, "provider": "cpu", "passed": True,
        "levels": [], "versions": {}, "seconds": 1.0,
    }  # fmt: skip
    model.with_name("model.onnx.parity.json").write_text(json.dumps(parity))
    report([run.path])
    assert "0 of 1" in page_of(run)
    assert "its report was written for another file" in page_of(run)


def test_an_evaluation_of_other_weights_is_marked(run: RunFolder) -> None:
    rewritten(run, weights_sha256="f" * 64)
    report([run.path])
    assert "the evaluation is of other weights" in page_of(run)


def test_a_thousand_large_photographs_stay_under_5_mb(tmp_path: Path) -> None:
    data, rng = tmp_path / "photos", np.random.default_rng(0)
    drawn = []
    for number in range(4):
        file = tmp_path / f"{number}.jpg"
        grain = rng.integers(0, 256, (75, 150, 3), np.uint8)  # much detail, when reduced too
        Image.fromarray(grain.repeat(4, axis=0).repeat(4, axis=1)).save(file, quality=95)
        drawn.append(file)
    data.mkdir()
    names = [f"{number:04}.jpg" for number in range(1000)]
    for number, name in enumerate(names):
        os.link(drawn[number % 4], data / name)
    made = made_run(tmp_path / "run", data, CLASSES, names)
    written = report([made.path])
    assert written.pictures > 1000
    assert 3e6 < written.bytes <= 5e6


def test_photographs_without_room_are_counted(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolchain.reporting.images.pictures.BUDGET_BYTES", 20_000)
    written = report([run.path])
    assert written.pictures_left_out > 0
    assert f"{written.pictures_left_out} photographs were left out" in page_of(run)


def test_multi_label_shows_what_became_of_each_class(tmp_path: Path, data: Path) -> None:
    names = [f"val/{n}/{i}.jpg" for n in range(3) for i in range(8)]
    made = made_run(tmp_path / "multi", data, CLASSES, names, task="multi-label")
    report([made.path])
    page = page_of(made)
    assert "wrongly found" in page
    assert {"ROC", "Reliability"} <= set(re.findall(r"<h3>([^<]+)</h3>", page))


def test_without_pictures_the_page_has_none(run: RunFolder, rtl_here: Rtl) -> None:
    assert rtl_here("report", run.path, "--no-pictures", "-q").returncode == 0
    assert "<img" not in page_of(run)


def test_runs_side_by_side_are_tested_on_the_images_that_they_share(
    run: RunFolder, tmp_path: Path, data: Path, names: list[str]
) -> None:
    other = made_run(
        tmp_path / "other", data, CLASSES, names, accuracy=1.0, seed=1, settings={"epochs": 3}
    )
    written = report([run.path, other.path])
    page = run.comparison.read_text(encoding="utf-8")
    assert written.file == str(run.comparison)
    files = [json.loads(one.evaluation.read_bytes()) for one in (run, other)]
    right = [[r["label"] == r["predicted"] for r in file["results"]] for file in files]
    only_first = sum(a and not b for a, b in zip(*right, strict=True))
    only_other = sum(b and not a for a, b in zip(*right, strict=True))
    assert f"({only_first} and {only_other})" in page
    assert "<code>epochs</code>" in page
    assert "<code>momentum</code>" not in page


def test_runs_on_other_images_are_not_tested_against_each_other(
    run: RunFolder, tmp_path: Path, data: Path, names: list[str]
) -> None:
    other = made_run(tmp_path / "other", data, CLASSES, names[:-1])
    rewritten(other, data_sha256="4" * 64)
    report([run.path, other.path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "they were not evaluated on the same images" in page
    assert "McNemar" not in page


def test_from_python_the_page_is_returned_with_what_it_lacks(run: RunFolder) -> None:
    with pytest.raises(SettingsError, match="none is given"):
        report([])
    shutil.rmtree(run.path)
    with pytest.raises(DataError, match="no such run folder"):
        report([run.path])


def test_what_the_audit_found_is_shown_with_its_pictures(run: RunFolder) -> None:
    audit = json.loads(run.audit.read_bytes())
    files = [f"val/{n}/{i}.jpg" for n in range(3) for i in range(2)]
    suspect = {
        "file": files[0], "split": "val", "label": "ants", "likelier": "wasps",
        "label_probability": 0.02, "likelier_probability": 0.91, "neighbours": [files[1]],
    }  # fmt: skip
    audit |= {
        "near_leaks": [files[2:4]],
        "near_duplicates": [files[2:4]],
        "findings": [{"file": files[4], "what": "blurred", "detail": "3.1"}],
        "label_errors": {
            "weights": "imagenet", "images": 24, "accuracy": 0.9, "estimated": 1, "joint": {},
            "suspects": [suspect],
        },
    }  # fmt: skip
    run.audit.write_text(json.dumps(audit))
    assert report([run.path]).pictures > 20
    page = page_of(run)
    assert "near leaks" in page
    assert "near duplicates" not in page  # that group is a leak
    assert "ants 2.0 %</bdi>, rather <bdi>wasps 91.0 %" in page
    assert "blurred" in page
