"""What results show: as plain text, as HTML, and the same as the command prints."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

import toolchain
from tests.conftest import Rtl
from tests.prediction.pictures import picture, tiny_model_file
from toolchain.data.audit_result import Audit, Unreadable
from toolchain.display import (
    Block,
    Displayed,
    Facts,
    Line,
    Picture,
    Span,
    Table,
    as_html,
    as_text,
    megabytes,
)
from toolchain.errors import ImageError, RefusedError
from toolchain.evaluation.evaluate import Evaluation
from toolchain.exporters.outcome import ExportedModel, RejectedModel
from toolchain.exporters.variants import Variant
from toolchain.prediction.predictions import SHOWN, Predictions
from toolchain.printable import shell_words
from toolchain.progress_bar import NotebookReporter, TerminalReporter, progress_reporter
from toolchain.runs.runfolder import RunFolder, parity_file
from toolchain.verification.result import Verification

HOSTILE = '<script>alert("1")</script>&'
ESCAPED = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;"


def test_text_columns_are_two_spaces_apart_and_numbers_stand_right() -> None:
    table = Table(("class", "images"), [("steak", "7"), ("omelette", "1200")], right=("images",))
    assert as_text([table]).splitlines() == [
        "class     images",
        "steak          7",
        "omelette    1200",
    ]


def test_text_of_several_lines_stays_in_its_column() -> None:
    table = Table(("file", "label"), [("a.jpg", "one\ntwo"), ("b.jpg", "three")], title="two files")
    assert as_text([table]).splitlines() == [
        "two files",
        "file   label",
        "a.jpg  one",
        "       two",
        "b.jpg  three",
    ]


def test_wide_letters_take_two_columns_in_text() -> None:
    assert as_text([Facts([("日本", "a"), ("abcd", "b")])]).splitlines() == ["日本  a", "abcd  b"]


def test_text_holds_nothing_that_moves_a_cursor() -> None:
    blocks: list[Block] = [Line("a\x1b[2Jb"), Facts([("x", Span("c\rd", "bad"))], title="t\x07")]
    assert as_text(blocks) == "a [2Jb\nt \nx  c d"


def test_an_empty_line_separates_and_a_picture_is_left_out_of_text() -> None:
    assert as_text([Line("a"), Line(), Picture(Path("x.png"), "curves"), Line("b")]) == "a\n\nb"


def test_everything_is_escaped_in_html(tmp_path: Path) -> None:
    image = tmp_path / "x.png"
    image.write_bytes(b"png")
    shown = as_html(
        [
            Table((HOSTILE,), [(HOSTILE,), (Span(HOSTILE, "bad"),)], title=HOSTILE),
            Facts([(HOSTILE, HOSTILE)], title=HOSTILE),
            Line(HOSTILE),
            Picture(image, HOSTILE),
        ]
    )
    assert "<script" not in shown
    assert shown.count(ESCAPED) == 9


def test_html_has_a_row_for_each_row_and_numbers_to_the_right() -> None:
    shown = as_html([Table(("class", "n"), [("a", "1\n2"), ("b", "3")], right=("n",))])
    assert shown.count("<tr>") == 3
    assert '<td style="text-align: right">1<br>2</td>' in shown
    assert '<th style="text-align: left">class</th>' in shown


def test_a_picture_is_inside_the_html_and_a_missing_one_is_left_out(tmp_path: Path) -> None:
    image = tmp_path / "curves.png"
    image.write_bytes(b"some png")
    shown = as_html([Line("a"), Picture(image, "curves")])
    assert f"data:image/png;base64,{base64.b64encode(b'some png').decode()}" in shown
    image.unlink()
    assert "<img" not in as_html([Line("a"), Picture(image, "curves")])


def test_a_number_of_bytes_is_shown_in_millions() -> None:
    assert megabytes(1_250_000) == "1.2 MB"


def test_a_rejected_model_shows_in_one_line() -> None:
    rejected = RejectedModel(Path("a.onnx"), RefusedError("int8 costs too much"))
    assert repr(rejected) == "RejectedModel('a.onnx', 'int8 costs too much')"


def test_an_exported_model_shows_in_one_line(model: Path) -> None:
    inspection = toolchain.inspect(model)
    verification = msgspec.json.decode(parity_file(model).read_bytes(), type=Verification)
    exported = ExportedModel(
        Path("a.onnx"), Variant("onnx"), inspection.card, 1_250_000, verification, 2.0
    )
    assert repr(exported) == "ExportedModel('a.onnx', onnx fp32 pixels, 1.2 MB)"


def test_a_predictor_shows_its_file_provider_and_number_of_classes(tmp_path: Path) -> None:
    with toolchain.Predictor(tiny_model_file(tmp_path)) as predictor:
        name = repr(str(tmp_path / "tiny.onnx"))
        assert repr(predictor) == f"Predictor({name}, provider='cpu', 3 classes)"


def test_a_struct_shows_its_blocks_and_stays_a_struct() -> None:
    class Result(Displayed, msgspec.Struct, frozen=True):
        label: str

        def blocks(self) -> list[Any]:
            return [Facts([("label", self.label)])]

    result = Result("steak")
    assert repr(result) == "label  steak"
    assert "<table>" in result._repr_html_()
    assert msgspec.json.encode(result) == b'{"label":"steak"}'
    assert result == Result("steak")


# What the commands print is compared with `repr`: both come from the same blocks.


def printed(rtl_here: Rtl, *words: object) -> str:
    done = rtl_here(*words, "--quiet")
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def test_an_inspection_reads_as_the_command_prints_it(rtl_here: Rtl, model: Path) -> None:
    assert repr(toolchain.inspect(model)) == printed(rtl_here, "inspect", model)


def test_an_audit_reads_as_the_command_prints_it(rtl_here: Rtl, stripes: Path) -> None:
    assert repr(toolchain.check_data(stripes)) == printed(rtl_here, "data", "check", stripes)


def test_predictions_read_as_the_command_prints_them(tmp_path: Path, rtl_here: Rtl) -> None:
    model, photo = tiny_model_file(tmp_path), picture(tmp_path / "a.png", 1)
    table = printed(rtl_here, "predict", model, photo, "--format", "table")
    assert repr(toolchain.predict(model, photo)) == table


def test_many_predictions_show_the_first_and_how_many_more() -> None:
    found = Predictions((f"{n}.jpg", ImageError(f"{n}.jpg: empty file")) for n in range(SHOWN + 5))
    lines = repr(found).splitlines()
    assert lines[1].split() == ["0.jpg", "empty", "file"]
    assert lines[-1] == "… and 5 more"
    assert len(lines) == SHOWN + 2


def test_a_verification_shows_verdicts_and_where_it_differs(model: Path) -> None:
    found = msgspec.json.decode(parity_file(model).read_bytes(), type=Verification)
    first = msgspec.structs.replace(found.levels[0], passed=False, where="layer1.0.conv1 (Conv)")
    found = msgspec.structs.replace(found, levels=(first, *found.levels[1:]))
    assert "FAILED" in repr(found).splitlines()[2]
    assert repr(found).splitlines()[3].strip() == "begins at layer1.0.conv1 (Conv)"
    assert '<span style="color: green">passed</span>' in found._repr_html_()


@pytest.fixture
def evaluation(run_folder: Path) -> Evaluation:
    return msgspec.json.decode(RunFolder(run_folder).evaluation.read_bytes(), type=Evaluation)


def test_an_evaluation_shows_its_confusion_matrix_in_a_notebook(evaluation: Evaluation) -> None:
    assert repr(evaluation).splitlines()[0].split() == [
        "class", "images", "precision", "recall", "F1",
    ]  # fmt: skip
    assert evaluation._repr_html_().count('<img src="data:image/png;base64,') == 1


def test_a_class_may_be_called_script(evaluation: Evaluation) -> None:
    first = msgspec.structs.replace(evaluation.per_class[0], label=HOSTILE)
    shown = msgspec.structs.replace(evaluation, per_class=[first, *evaluation.per_class[1:]])
    assert "<script" not in shown._repr_html_()
    assert ESCAPED in shown._repr_html_()


def test_an_audit_escapes_names_of_files_and_classes(run_folder: Path) -> None:
    audit = msgspec.json.decode(RunFolder(run_folder).audit.read_bytes(), type=Audit)
    audit = msgspec.structs.replace(
        audit,
        data=HOSTILE,
        per_class={HOSTILE: {"train": 1, "val": 1, "test": 0}},
        unreadable=(Unreadable(HOSTILE, HOSTILE),),
        leaks=((HOSTILE, "b"),),
        rare_classes=(HOSTILE,),
    )
    assert "<script" not in audit._repr_html_()
    assert audit._repr_html_().count(ESCAPED) == 6


def test_the_result_of_training_shows_its_curves_in_a_notebook(
    run_folder: Path, stripes: Path
) -> None:
    from toolchain.data.layouts import read_dataset
    from toolchain.training.artifacts import Summary
    from toolchain.training.finetune_result import FinetuneResult

    run = RunFolder(run_folder)
    audit = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    summary = Summary(
        best_epoch=3, epochs=4, val_loss=1.0, val_accuracy=0.5, val_macro_f1=0.5, val_auc=None,
        temperature=1.5, temperature_reason=None, calibration_error=(0.2, 0.1), findings=[],
        epochs_as_good=2, val_images=24,
    )  # fmt: skip
    result = FinetuneResult(run, read_dataset(stripes, "single-label"), audit, summary, 12.0)
    best = "best epoch   3 of 4; 24 images can't tell it from 1 of the others"
    assert best in repr(result).splitlines()
    assert result._repr_html_().count("<img ") == 2


# The argument `progress` of the functions.


class Shown:
    """Stands for IPython's display: keeps what was shown, and what an output was changed into."""

    def __init__(self) -> None:
        self.outputs: list[str] = []

    def __call__(self, output: Any, display_id: bool = False) -> Shown | None:
        self.outputs.append(output._repr_html_())
        return self if display_id else None

    def update(self, output: Any) -> None:
        self.outputs.append(output._repr_html_())


def test_a_notebook_gets_lines_and_a_bar_that_is_updated_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolchain.progress_bar.UPDATE_S", 0)
    shown = Shown()
    reporter = NotebookReporter(shown)
    reporter.message("epoch <1>")
    assert list(reporter.track([1, 2], "reading", 2)) == [1, 2]
    assert shown.outputs[0] == "<div>epoch &lt;1&gt;</div>"
    assert [output.count("<progress") for output in shown.outputs[1:]] == [1, 1, 1, 0]
    assert "2/2" in shown.outputs[3]


def test_the_bar_of_a_notebook_goes_away_when_the_loop_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = Shown()
    items = iter(NotebookReporter(shown).track([1, 2], "reading", 2))
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert shown.outputs[-1] == ""


def test_progress_true_is_a_terminal_and_none_is_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    reporter = progress_reporter(True)
    assert isinstance(reporter, TerminalReporter)
    reporter.message("hello [bold]")
    progress_reporter(None).message("nothing")
    assert list(progress_reporter(None).track([1], "x", 1)) == [1]
    assert written.getvalue() == "hello [bold]\n"


def test_a_reporter_is_used_as_it_is() -> None:
    reporter = NotebookReporter(Shown())
    assert progress_reporter(reporter) is reporter


@pytest.mark.parametrize(
    "name", ["plain", "it's", "a b", "new\nline", "\x7f\x1b[2J", "caf\udce9", "é"]
)
def test_a_command_that_is_shown_names_the_same_file(name: str) -> None:
    shown = shell_words("printf", "%s", name)
    assert shown.isprintable()
    done = subprocess.run(["bash", "-c", shown], capture_output=True, check=True)
    assert done.stdout == os.fsencode(name)
