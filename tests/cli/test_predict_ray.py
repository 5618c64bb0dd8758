"""`rtl predict --ray` on a cluster of two workers: the same results as without it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.predicting import Predict, read_rows
from tests.conftest import Rtl
from tests.prediction.pictures import LABELS, picture, tiny_model_file

pytestmark = [  # deprecations inside Ray
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PICTURES = 150


def require_ray() -> Any:
    return pytest.importorskip("ray", reason="ray is not installed (the extra `ray`)")


@pytest.fixture(scope="module", autouse=True)
def short_folder() -> Iterator[None]:
    """Give Ray a folder with a short path, as its sockets have one of 107 bytes at most."""
    with (
        tempfile.TemporaryDirectory(
            prefix="rtl-ray-", dir="/tmp", ignore_cleanup_errors=True
        ) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        yield


@pytest.fixture(scope="module")
def cluster(short_folder: None) -> Iterator[None]:
    """Two workers on this machine."""
    ray = require_ray()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of each label in a folder, and a file that is not an image."""
    for number in range(PICTURES):
        picture(tmp_path / "photos" / f"{number:03}.png", number)
    (tmp_path / "photos" / "001 bad.png").write_text("no image")
    return Path("photos")


def test_folder_gives_the_same_rows_as_without_ray(
    cluster: None, predict: Predict, tmp_path: Path, photos: Path
) -> None:
    plain = predict(photos, "gone.png", "--top", "3")
    assert plain.status == 7
    spread = predict(photos, "gone.png", "--top", "3", "--ray")
    assert spread.status == 7
    assert spread.out == plain.out
    # A file that was begun without Ray is resumed with it.
    (tmp_path / "rows.csv").write_bytes(predict(photos, "--format", "csv").out)
    whole = (tmp_path / "rows.csv").read_bytes()
    (tmp_path / "rows.csv").write_bytes(whole[: len(whole) // 2])
    assert predict(photos, "--ray", "-o", "rows.csv", "--resume").status == 7
    assert (tmp_path / "rows.csv").read_bytes() == whole


def test_parquet_of_bytes_becomes_parquet_of_the_same_results(
    cluster: None, predict: Predict, tmp_path: Path, photos: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted((tmp_path / "photos").iterdir())
    names = [str(path.relative_to(tmp_path)) for path in paths]
    images = [path.read_bytes() for path in paths]
    (tmp_path / "images.parquet").mkdir()
    for part in (0, 1):
        some = slice(part * 80, (part + 1) * 80)
        table = pa.table(
            {"path": names[some], "bytes": images[some], "size": [1] * len(names[some])}
        )
        pq.write_table(table, tmp_path / "images.parquet" / f"{part}.parquet")
    plain = predict(photos).rows
    assert predict("images.parquet", "--ray", "-o", "rows.parquet").status == 7
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [{k: v for k, v in row.items() if v is not None} for row in rows] == plain
    assert predict("images.parquet", "--ray", "-o", "rows.parquet").status == 3
    pq.write_table(pa.table({"image": images}), tmp_path / "wrong.parquet")
    done = predict("wrong.parquet", "--ray")
    assert done.status == 3
    assert "wrong.parquet has the columns image" in done.err


def test_cluster_is_started_and_stopped(rtl: Rtl, tmp_path: Path) -> None:
    require_ray()
    for number in range(3):
        picture(tmp_path / f"{number}.png", number)
    model = tiny_model_file(tmp_path)
    done = rtl("predict", model, "*.png", "--ray", "--workers", "2", env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert [row["label"] for row in read_rows(done.stdout.encode())] == list(LABELS)
    assert done.stderr.splitlines() == [f"next: rtl inspect {model}"]
    left = subprocess.run(
        ["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True
    ).stdout
    assert f"{tmp_path}" not in left


def test_missing_ray_is_answered_with_the_install_command(rtl: Rtl, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(name='ray')\n")
    path = f"{tmp_path}:{':'.join(sys.path)}"
    done = rtl("predict", tiny_model_file(tmp_path), "x.png", "--ray", env={"PYTHONPATH": path})
    assert done.returncode == 9
    assert 'pip install "rtl-toolchain[ray]"' in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("x.png", "-o", "rows.parquet"),
        ("x.png", "-o", "rows.parquet", "--ray", "--resume"),
        ("a.parquet", "x.png", "--ray"),
        ("a.parquet", "--ray", "-o", "rows.jsonl", "--resume"),
    ],
)
def test_options_that_ray_and_parquet_exclude_are_refused(
    predict: Predict, options: tuple[str, ...]
) -> None:
    assert predict(*options).status == 2
