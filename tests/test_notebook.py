"""examples/quickstart.ipynb runs from top to bottom and is kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
SECONDS = 300
"""At most for one cell; all take about 20 s on two cores."""


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def test_the_notebook_is_kept_without_outputs() -> None:
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert [cell["execution_count"] for cell in code] == [None] * len(code)


@pytest.mark.filterwarnings("ignore")  # those of the notebook's own packages
def test_the_notebook_runs_and_shows_tables_pictures_and_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    shown = {
        cell.source.splitlines()[-1]: "".join(
            output.data.get("text/html", "") for output in cell.outputs if "data" in output
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert "camera_0001.jpg" in shown["rtl.check_data(data)"]
    assert re.search(r"epoch +2/2", shown["trained"])
    assert shown["trained"].count("<img ") == 2
    assert shown["evaluation"].count("<img ") == 1
    assert "model.onnx" in shown["exported"]
    assert "<table>" in shown["rtl.inspect(model)"]
    assert "not an image" in shown["predictions"] or "damaged" in shown["predictions"]
