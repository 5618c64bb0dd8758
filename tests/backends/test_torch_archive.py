"""TorchScript and .pt2 archives are looked over before torch opens them; no part of them runs."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.tiny import tiny_card
from toolchain.backends.backend import open_backend
from toolchain.backends.pickle_scan import UnsafePickleError, require_tensors_only
from toolchain.backends.torch_archive import require_safe_archive
from toolchain.errors import ModelFileError
from toolchain.runtime.card import CARD_KEY, encode_card

TENSORS = pickle.dumps((collections.OrderedDict(),), protocol=2)
NODE: dict[str, Any] = {
    "target": "torch.ops.aten.relu_.default",
    "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
}
LENGTH = "Symbol('s81', positive=True, integer=True)"


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def saved(data: bytes, **members: bytes) -> bytes:
    """Return an archive as torch.save writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        written.writestr("archive/data.pkl", data)
        for name, content in members.items():
            written.writestr(f"archive/{name}", content)
    return stream.getvalue()


def program(node: dict[str, Any] = NODE, **changes: Any) -> bytes:
    """Return the JSON text of a graph of one node."""
    graph = {"nodes": [node], "sizes": [{"as_expr": {"expr_str": LENGTH}}, {"as_int": 3}]}
    return json.dumps({"graph_module": {"graph": graph}, **changes}).encode()


def members(**changes: bytes | None) -> dict[str, bytes]:
    """Return the members of a .pt2 file; those in `changes` replaced, or left out for None."""
    found: dict[str, bytes | None] = {
        "data/weights/weight_0": bytes(16),
        "data/weights/model_weights_config.json": weights(use_pickle=False),
        "data/sample_inputs/model.pt": saved(TENSORS, version=b"3"),
        "models/model.json": program(),
        f"extra/{CARD_KEY}": encode_card(tiny_card(format="pt2", opset=None)).encode(),
        "version": b"6",
        **changes,
    }
    return {name: content for name, content in found.items() if content is not None}


def weights(**entry: Any) -> bytes:
    return json.dumps({"config": {"fc.weight": {"path_name": "weight_0", **entry}}}).encode()


def archive(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as written:
        for name, data in content.items():
            written.writestr(f"archive/{name}", data)
    return path


def test_archive_with_what_torch_writes_is_accepted(tmp_path: Path, exported: Path) -> None:
    require_safe_archive(archive(tmp_path / "model.pt2", members()))
    require_safe_archive(exported / "model.torchscript.pt")


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("wrapped", [True, False], ids=["archive", "bare pickle"])
def test_pickle_in_a_pt2_file_is_not_run(tmp_path: Path, protocol: int, wrapped: bool) -> None:
    data = pickle.dumps(Payload(tmp_path / "ran"), protocol=protocol)
    content = members(**{"data/sample_inputs/model.pt": saved(data) if wrapped else data})
    path = archive(tmp_path / "model.pt2", content)
    with pytest.raises(ModelFileError, match=r"model\.pt2 must not be opened: .*model\.pt"):
        open_backend(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data/weights/weight_0.pkl": TENSORS}, "a member 'data/weights/weight_0.pkl'"),
        ({"data/weights/model.pt": saved(b"cos\nsystem\n.")}, "would run 'os.system'"),
        ({"data/weights/model_weights_config.json": weights(use_pickle=True)}, "is pickled"),
        ({"data/weights/model_weights_config.json": weights()}, "is pickled"),
        (
            {"data/constants/model_constants_config.json": b'{"config": {"a": {"path_name":'
             b' "opaque_obj_0", "use_pickle": false}}}'},
            "names the tensor 'opaque_obj_0'",
        ),
        ({"models/model.json": program({**NODE, "target": "torch.os.system"})}, "torch.os.system"),
        (
            {"models/model.json": program({**NODE, "target": "torch.ops.aten.from_file.default"})},
            "from_file",
        ),
        ({"models/model.json": program({"expr_str": "exec(chr(49))"})}, "exec"),
        ({"models/model.json": program({"as_operator": "torch.os.system"})}, "as_operator"),
        (
            {"models/model.json": program({"in_spec": '[1, {"type": null, "context": '
             '{"__enum__": true, "fqn": "os:system"}}]'})},
            "other classes|is no JSON",
        ),
        ({"models/model.json": program(guards_code=["f()"])}, "holds guards_code"),
        ({"data/aotinductor/model/model.so": b"\x7fELF"}, "a member 'data/aotinductor"),
        ({"VERSION": b"6"}, "two of its members have one name"),
    ],
)  # fmt: skip
def test_what_torch_would_run_is_refused(
    tmp_path: Path, changes: dict[str, bytes], words: str
) -> None:
    path = archive(tmp_path / "model.pt2", members(**changes))
    with pytest.raises(ModelFileError, match=words) as raised:
        require_safe_archive(path)
    assert "do not trust" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"constants.pkl": pickle.dumps(os.mkdir, 2)}, "'constants.pkl' would run '.*mkdir'"),
        ({"data.pkl": b"c__torch__.torch.classes.a\nB\n."}, "torch.classes"),
        ({"code/__torch__/a.py": b"def f(x):\n  torch.save(x, 'a')\n"}, "calls 'torch.save'"),
        ({"code/__torch__/a.py": b"ops.inductor.f(x)"}, "calls 'ops.inductor'"),
        ({"models/model.json": b"{}"}, "a member 'models/model.json'"),
    ],
)
def test_what_a_script_must_not_hold_is_refused(
    tmp_path: Path, changes: dict[str, bytes], words: str
) -> None:
    good = {
        "data.pkl": b"\x80\x02c__torch__.a\nB\n)\x81.",
        "constants.pkl": TENSORS,
        "code/__torch__/a.py": b"x = torch.relu_(y)",
    }
    require_safe_archive(archive(tmp_path / "good.pt", good))
    with pytest.raises(ModelFileError, match=words):
        require_safe_archive(archive(tmp_path / "bad.pt", {**good, **changes}))


def test_archive_that_others_could_read_differently_is_refused(tmp_path: Path) -> None:
    content = archive(tmp_path / "good.pt2", members()).read_bytes()
    for number, data in enumerate((b"x" + content, content + b"x", content + content)):
        path = tmp_path / f"{number}.pt2"
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"before or after|can't be opened"):
            require_safe_archive(path)


def test_archive_that_unpacks_to_more_than_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in members(**{"data/weights/weight_0": bytes(80_000_000)}).items():
            written.writestr(f"archive/{name}", data)
    with pytest.raises(ModelFileError, match="its members declare 80,00"):
        require_safe_archive(path)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(ios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02\x82\x01.",
        b"cbuiltins\neval\n.",
        TENSORS + TENSORS,
        TENSORS[:-1],
        b"",
    ],
)
def test_pickle_of_anything_but_tensors_is_unsafe(data: bytes) -> None:
    require_tensors_only(TENSORS)
    with pytest.raises(UnsafePickleError):
        require_tensors_only(data)
