"""A predictor is the bytes that it opened, whatever becomes of the file."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tests.runtime.test_openmodel import IMAGES as CHILD_IMAGES_20
from tests.runtime.test_openmodel import from_a_child
from tests.runtime.tiny import SIDE, tiny_card, tiny_model, weight, write
from toolchain import Predictor
from toolchain.errors import ModelFileError
from toolchain.runtime import autotune, many
from toolchain.runtime.card import CARD_KEY, encode_card

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
CHILD_IMAGES = CHILD_IMAGES_20[:3]
IMAGES = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in range(0, 240, 20)]


def other_model() -> onnx.ModelProto:
    """Return a model with the same card and size, that computes something else."""
    model = tiny_model()
    changed = weight("weight", np.eye(3, dtype=np.float32)[::-1] / 32)
    next(t for t in model.graph.initializer if t.name == "weight").CopyFrom(changed)
    return model


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write(tiny_model(), tmp_path / "tiny.onnx")


def logits(predictor: Predictor) -> NDArray[np.float32]:
    return predictor.run(np.stack(IMAGES))[1]


def replaced(path: Path) -> None:
    """Put another file in its place, as a careful program does."""
    write(other_model(), path.with_suffix(".new")).replace(path)


def removed(path: Path) -> None:
    path.unlink()


def written_over(path: Path) -> None:
    """Write other bytes into the file, as `cp` does."""
    write(other_model(), path)


def written_over_unseen(path: Path) -> None:
    """Write other bytes of the same number, and set the modification time back."""
    before = path.stat()
    write(other_model(), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("change", [replaced, removed, written_over, written_over_unseen])
@pytest.mark.parametrize("cache", [True, False])
def test_many_images_are_predicted_by_the_bytes_that_were_opened(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], cache: bool
) -> None:
    monkeypatch.setattr(many, "UNMEASURED_IMAGES", 2)
    monkeypatch.setattr(autotune, "fastest", lambda functions, workers: 0)
    with Predictor(tiny, threads=2, cache=cache) as predictor:
        expected = logits(predictor)
        change(tiny)
        found = list(predictor.predict_many(IMAGES, workers=2, batch_size=1))
        np.testing.assert_array_equal(np.stack([p.logits for p in found]), expected)  # type: ignore[union-attr]
        assert predictor.single_threaded == (change in (replaced, removed) and on_linux())


def on_linux() -> bool:
    return sys.platform == "linux"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("change", [replaced, removed, written_over, written_over_unseen])
def test_forked_child_has_the_same_bytes_or_says_that_they_are_gone(
    tiny: Path, change: Callable[[Path], None], cache: bool
) -> None:
    predictor = Predictor(tiny, cache=cache)
    expected = predictor.run(CHILD_IMAGES)[1]
    change(tiny)
    found = from_a_child("fork", predictor)
    if change in (replaced, removed) and on_linux():
        np.testing.assert_array_equal(found, expected)
    else:
        assert isinstance(found, ModelFileError)
        assert "has changed since it was opened" in str(found)


def test_a_file_that_was_only_touched_is_the_same(tiny: Path) -> None:
    predictor = Predictor(tiny, cache=False)
    predictor.digest  # noqa: B018  # known from now on
    tiny.chmod(0o600)
    assert isinstance(from_a_child("fork", predictor), np.ndarray)


@pytest.mark.parametrize("change", [replaced, removed])
def test_digest_is_that_of_the_bytes_that_were_opened(
    tiny: Path, change: Callable[[Path], None]
) -> None:
    expected = hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert Predictor(tiny).digest == expected
    late = Predictor(tiny)
    change(tiny)
    if on_linux():
        assert late.digest == expected


def test_digest_of_bytes_that_are_gone_is_an_error(tiny: Path) -> None:
    predictor = Predictor(tiny)
    written_over(tiny)
    with pytest.raises(ModelFileError, match="has changed since it was opened"):
        predictor.digest  # noqa: B018


def test_digest_given_at_opening_is_required(tiny: Path) -> None:
    digest = hashlib.sha256(tiny.read_bytes()).hexdigest()
    for text in (digest, digest.upper(), f"sha256:{digest}\n"):
        assert Predictor(tiny, sha256=text).digest == digest
    with pytest.raises(ModelFileError, match=f"has the sha256 {digest}, not {'0' * 64}"):
        Predictor(tiny, sha256="0" * 64)
    with pytest.raises(ValueError, match="sha256 must be 64 hex digits"):
        Predictor(tiny, sha256="abc")
    with pytest.raises(TypeError, match="sha256 must be a str"):
        Predictor(tiny, sha256=b"0" * 64)  # type: ignore[arg-type]


def test_pickled_predictor_does_not_open_another_file(tiny: Path) -> None:
    data = pickle.dumps(Predictor(tiny))
    replaced(tiny)
    with pytest.raises(ModelFileError, match="has the sha256"):
        pickle.loads(data)


def test_cache_entry_with_another_card_is_not_used(tiny: Path, tmp_path: Path) -> None:
    """The card, and with it the proof of the self test, is that of the file."""
    cache = Path(os.environ["RTL_CACHE_DIR"])
    os.utime(tiny, ns=(10**18, 10**18))
    Predictor(tiny).close()
    entries = set(cache.glob("engines/*/model.onnx"))
    Predictor(tiny).close()
    changed = tiny_card(classes=("red", "green", "blue"))
    for entry in entries:
        graph = onnx.load(entry, load_external_data=False)
        if graph.metadata_props and '"tiny"' in graph.metadata_props[0].value:
            graph.metadata_props[0].value = encode_card(changed)
            entry.write_bytes(graph.SerializeToString())
            forge_record(entry.parent)
    assert Predictor(tiny).classes == ("across", "aslant", "down")


def forge_record(entry: Path) -> None:
    """Write the sums of the files of an entry of the cache into its record."""
    import msgspec

    from toolchain.runtime.modelcache.store import GRAPH, RECORD, Record, word_sum

    record = msgspec.json.decode((entry / RECORD).read_bytes(), type=Record)
    sums = {**record.sums, GRAPH: word_sum(entry / GRAPH)}
    forged = msgspec.structs.replace(record, sums=sums)
    (entry / RECORD).write_bytes(msgspec.json.encode(forged))


def test_descriptor_is_closed_with_the_predictor(tiny: Path) -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    if not on_linux():
        pytest.skip("counts in /proc")
    Predictor(tiny).close()
    before = open_descriptors()
    for _ in range(3):
        with Predictor(tiny):
            pass
        Predictor(tiny)
    assert open_descriptors() == before


def test_descriptor_that_is_another_files_by_now_stays_open(tiny: Path, tmp_path: Path) -> None:
    predictor = Predictor(tiny)
    descriptor = predictor._open_model.file._descriptor
    assert descriptor is not None
    os.close(descriptor)  # as a program does that becomes a daemon
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_WRONLY)
    assert other == descriptor
    predictor.close()
    os.fstat(other)
    os.close(other)


def test_card_of_a_file_is_read_without_its_graph(tiny: Path) -> None:
    from toolchain.runtime.onnxfile.metadata import card_text

    assert card_text(tiny) == encode_card(tiny_card())
    for content in (b"", b"PK\3\4", b"\xff" * 50, tiny.read_bytes()[:-40]):
        tiny.write_bytes(content)
        assert card_text(tiny) is None
    plain = tiny_model()
    del plain.metadata_props[:]
    assert CARD_KEY
    assert card_text(write(plain, tiny)) is None
