"""A greedy soup: averaged weights are kept only where validation accepts them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

import toolchain
from toolchain.errors import Interrupted
from toolchain.files import write_json
from toolchain.metrics.outputs import Outputs
from toolchain.networks.weights import read_weights
from toolchain.progress import SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.selection import Ingredient, Selection, Soup, read_selection
from toolchain.runs.settings_file import read_settings
from toolchain.training import soup as soups
from toolchain.training.choosing import Choice, ChoiceInputs, Choosers
from toolchain.training.finetune import finetune
from toolchain.training.soup import averaged

PLAN = Soup(
    ingredients=[
        Ingredient(name="a lower rate", settings={"lr_backbone": 1e-5}),
        Ingredient(name="a rate of nothing", settings={"lr_backbone": 1e-9}),
    ],
    images=48,
    correct=46,
    correct_single=45,
)
CHOSEN = Selection(
    asked={"budget": "5m"}, chosen={}, reason="a test", measured=[], seconds=0.0, soup=PLAN
)


class Killed(SilentReporter):
    """Stops the command at a line that begins with this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def message(self, text: str) -> None:
        if text.startswith(self.text):
            raise KeyboardInterrupt


def train(
    stripes: Path,
    weights: Path,
    folder: Path,
    progress: SilentReporter | None = None,
    deadline: float | None = None,
) -> RunFolder:
    given: dict[str, Any] = {"data": str(stripes), "weights": str(weights), "size": 32}
    given |= {"strategy": "partial", "freeze_until": "layer4", "head_start": "probe"}
    given |= {"epochs": 1, "augment": "none", "workers": 0, "batch_size": 16, "lr_head": 1e-3}

    def choose(inputs: ChoiceInputs, _: object) -> Choice:
        return Choice(inputs.settings, CHOSEN, deadline)

    settings = read_settings(None, given)
    return finetune(settings, folder, progress=progress, choosers=Choosers(settings=choose)).run


def kept(run: RunFolder) -> Soup:
    selection = read_selection(run)
    assert selection is not None
    assert selection.soup is not None
    return selection.soup


@pytest.fixture(scope="module")
def run(stripes: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(stripes, random_weights, tmp_path_factory.mktemp("soup") / "run")


def test_the_average_of_states_is_that_of_each_tensor() -> None:
    one = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
    other = {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(5)}
    found = averaged([one, other])
    assert found["w"].tolist() == [2.0, 4.0]
    assert found["n"].item() == 3
    assert torch.equal(averaged([one])["w"], one["w"])


def test_a_soup_is_right_on_no_fewer_validation_images(run: RunFolder) -> None:
    soup = kept(run)
    assert soup.trained == 2
    assert soup.val_correct is not None
    assert soup.val_correct_single is not None
    assert soup.val_correct >= soup.val_correct_single
    evaluation = toolchain.evaluate(run.path, workers=0)
    assert evaluation.accuracy == pytest.approx(soup.val_correct / 24)
    assert "averages were right on 46 of 48 held-out" in repr(read_selection(run))
    card = run.card.read_text()
    assert hashlib.sha256(run.weights.read_bytes()).hexdigest() in card


def test_a_soup_that_validation_refuses_leaves_the_single_training(
    stripes: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = soups.outputs_with
    singles = []

    def all_wrong(trainer: Any, weights: Any) -> Outputs:
        singles.append(trainer.best.weights)
        outputs = real(trainer, weights)
        return Outputs(-outputs.logits, outputs.labels)

    monkeypatch.setattr(soups, "outputs_with", all_wrong)
    refused = train(stripes, random_weights, tmp_path / "run")
    assert kept(refused).kept == []
    assert "not kept" in kept(refused).words()
    written = read_weights(refused.weights)
    assert all(torch.equal(written[name], tensor) for name, tensor in singles[0].items())


def test_a_run_that_is_killed_between_two_ingredients_ends_with_the_same_weights(
    run: RunFolder, stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(stripes, random_weights, tmp_path / "run", Killed("soup with a lower rate"))
    assert kept(RunFolder(tmp_path / "run")).val_correct is None
    toolchain.resume(tmp_path / "run", workers=0)
    killed = RunFolder(tmp_path / "run")
    assert killed.weights.read_bytes() == run.weights.read_bytes()
    assert kept(killed) == kept(run)


def test_no_ingredient_is_trained_when_the_time_is_over(
    stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    found = train(stripes, random_weights, tmp_path / "run", deadline=0.0)
    assert kept(found).trained == 0
    assert "no time to train another" in kept(found).words()


def test_a_run_without_a_soup_reads_as_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    old = msgspec.to_builtins(CHOSEN)
    del old["soup"]
    write_json(folder.selection, old)
    selection = read_selection(folder)
    assert selection is not None
    assert selection.soup is None
