"""The tables about other tools are made from the rows; no other tool is needed for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.accuracy import accuracy
from benchmarks.peers.bars import all_bars, training_bar
from benchmarks.peers.rows import read_rows
from benchmarks.peers.table import BEGIN, END, FIRST, PAGE, text_of, written


def row(subject: str, who: str, **figures: Any) -> dict[str, Any]:
    """Return a row as a measurement appends it."""
    where = {"run": "one", "date": "2026-11-28T13:10:00Z", "machine": "a machine", "load": 1.5}
    return {"subject": subject, "who": who, **where, "versions": {"torch": "2.14.1"}, **figures}


def trained(who: str, seconds: float, right: float, pair: int, **others: Any) -> dict[str, Any]:
    given = {"epochs": 5, "seed": 0, "images": 153, "curve": []} | others
    given["processor_seconds"] = 2 * seconds
    return row("train", who, seconds=seconds, accuracy=right, pair=pair, **given)


def test_a_loss_stays_in_the_table_and_misses_its_bar() -> None:
    rows = [
        trained("rtl head", 10.0, 0.93, 1),
        trained("fastai head", 40.0, 0.90, 1),
        trained("rtl head", 20.0, 0.93, 2),
        trained("fastai head", 120.0, 0.91, 2, seed=1),
    ]
    text = text_of(rows)
    # Each is compared with the run of the head beside it: 4 and 6 times.
    assert "| fastai head | 5 | 90.5 % | 2 | 80.0 | 160.0 | 5.0 × |" in text
    assert "best of fastai (measured up to 5 epochs) | 10 × | 5.0 × | missed |" in text


def test_what_a_peer_reaches_at_any_number_of_epochs_is_rtls_goal() -> None:
    rows = [
        trained("rtl head", 10.0, 0.93, 1),
        trained("fastai head", 150.0, 0.90, 1),
        trained("rtl head", 10.0, 0.93, 2),
        trained("fastai head", 300.0, 0.95, 2, epochs=20),
        trained("rtl partial", 50.0, 0.945, 3),
    ]
    bar = training_bar(rows, "fastai", 10.0)
    assert (bar.reached, bar.verdict) == (6.0, "missed")
    assert "rtl partial" in bar.between
    bar = training_bar(rows[:-1], "fastai", 10.0)
    assert (bar.reached, bar.verdict) == (0.0, "missed")
    assert bar.between == "no run of rtl reaches 94.0%"


def test_a_peer_may_stop_after_any_of_its_epochs() -> None:
    curve = [[30.0, 0.80], [60.0, 0.905], [90.0, 0.91]]
    rows = [
        trained("rtl head", 10.0, 0.93, 1),
        trained("Ultralytics", 100.0, 0.91, 1, epochs=3, curve=curve),
    ]
    bar = training_bar(rows, "Ultralytics", 15.0)
    assert bar.reached == 6.0
    assert "to 90.0%: rtl head, 10.0 s, beside Ultralytics (2 of 3), 60.0 s" in bar.between


def test_the_bar_of_a_peer_is_its_fastest_form_round_by_round() -> None:
    times = {"rtl Predictor": (0.2, 0.4), "Ultralytics, its .pt": (3.0, 6.0)}
    times["Ultralytics, its .onnx"] = (2.0, 4.0)
    labelled = {"processor_seconds": 1.0, "images": 1, "same_labels": None}
    rows = [
        row("start", who, seconds=seconds, round=number, **labelled)
        for who, both in times.items()
        for number, seconds in enumerate(both, start=1)
    ]
    bars = {bar.text: bar for bar in all_bars(rows, FIRST)}
    ultralytics = bars["the first label of a process, beside Ultralytics"]
    assert (ultralytics.reached, ultralytics.verdict) == (10.0, "met")
    assert bars["the first label of a process, beside Optimum"].verdict == "not measured"


def test_a_peer_that_can_not_be_had_is_a_row_with_the_reason(tmp_path: Path) -> None:
    from benchmarks.peers import inference, label, train
    from benchmarks.peers.material import Material
    from benchmarks.peers.session import Session

    store = tmp_path / "rows.jsonl"
    session = Session(Material(tmp_path), tmp_path / "none", store, versions={})
    train.run(session, ["fastai head"], [0], [5])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.jpg").touch()
    label.run(session, "start", [], 1)
    inference.run(session, 1)
    rows = read_rows(store)
    found = [each["who"] for each in rows]
    assert found[:3] == ["rtl head", "fastai head", "rtl predict"]
    assert found[-1] == "OpenVINO benchmark_app"
    make = f"python -m benchmarks.peers environments --environments {tmp_path / 'none'}"
    assert {each["skipped"] for each in rows} == {f"no environment: {make}"}
    for who in found:
        assert f"| {who} | not measured: no environment: {make} |" in text_of(rows)


def test_what_pip_said_of_a_package_is_the_reason(tmp_path: Path) -> None:
    from benchmarks.peers.environment import REASONS, CanNotRunError, require

    (tmp_path / REASONS).write_text('{"timm": "ERROR: No matching distribution found"}')
    with pytest.raises(CanNotRunError, match="timm: ERROR: No matching distribution found"):
        require(tmp_path, ("torch", "timm"), {"torch": "2.14.1"})


def test_a_reason_goes_when_the_peer_is_measured() -> None:
    rows = [row("predict", "timm", skipped="timm: not installed", round=0)]
    assert "timm: not installed" in text_of(rows)
    figures = {"seconds": 4.0, "processor_seconds": 7.0, "images": 200, "same_labels": 199}
    rows += [row("predict", "timm", round=1, **figures)]
    text = text_of(rows)
    assert "not installed" not in text
    assert "| timm | 4.00 | 7.00 | 50 | 199 of 200 | – | 1 |" in text


def test_accuracy_is_the_share_of_photographs_that_lie_in_the_folder_of_their_label(
    tmp_path: Path,
) -> None:
    for name in ("ants/1.jpg", "ants/2.JPG", "bees/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    labels = {"ants/1.jpg": "ants", "ants/2.JPG": "bees", "bees/1.png": "bees"}
    assert accuracy(labels, tmp_path) == pytest.approx(2 / 3)
    del labels["bees/1.png"]
    with pytest.raises(ValueError, match="1 photographs without a label"):
        accuracy(labels, tmp_path)


def test_the_page_has_the_tables_of_the_stored_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    assert written(read_rows(), page) == page
