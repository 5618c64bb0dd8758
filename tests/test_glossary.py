"""The glossary: which terms belong to an output, and that their meaning fits a line or two."""

from __future__ import annotations

import re

import pytest

from toolchain.cli.main import COMMANDS
from toolchain.cli.trained import EPOCH_LINE
from toolchain.glossary import OF_COMMAND, TOPICS, terms_in

TERMS = [term for terms in TOPICS.values() for term in terms]

SHOWN = {
    "finetune": (
        f"{EPOCH_LINE}\nbest epoch 1 of 1\nvalidation 79.7 % of 153 images, macro F1 0.786, AUC 0.9"
        "\ncalibration temperature 0.19: error 21.6 % → 6.9 %",
        {"loss a → b", "acc a → b", "macro F1", "AUC", "temperature", "calibration error"},
    ),
    "evaluate": (
        "class images precision recall F1\na 0 – – –\naccuracy 79.7 % (95 % interval 72.7 % to "
        "85.3 %)\nmacro F1 78.6 %\nAUC 0.9\ncalibration probabilities off by 6.9 %",
        {"95 % interval", "precision", "recall", "F1", "AUC", "calibration error", "–"},
    ),
    "bench": ("model batch thr p50 ms p90 p99 img/s × MB\n* ~1 ±2\nm INVALID busy\nm server 1 2 9 "
              "queries/s; p99 8 ms VALID short run, not a submission",
              {"p50, p90, p99", "img/s", "×", "±", "VALID, INVALID", "server, queries/s",
               "short run"}),
    "verify": ("level\nnumbers the card passed 4 inputs, off by 4e-07, allowed 0.001",
               {"numbers", "off by, allowed", "level"}),
    "export": ("fp32 accuracy 94 % → 93 % (p = 0.3), 2 of 80 labels differ",
               {"labels differ", "fp32, fp16, int8", "p ="}),
    "data check": ("leaks 0 groups\nlabel conflicts 0", {"leaks", "label conflicts"}),
}  # fmt: skip
"""Command → (what it prints, terms that are explained)."""


@pytest.mark.parametrize("command", SHOWN)
def test_the_figures_of_an_output_are_explained(command: str) -> None:
    text, names = SHOWN[command]
    assert names <= {term.name for term in terms_in(text, command)}


def test_what_an_output_does_not_have_is_not_explained() -> None:
    assert terms_in("nothing of the kind", "evaluate") == []
    names = {term.name for term in terms_in("accuracy 3 %", "evaluate")}
    assert names == {"accuracy"}


def test_every_command_and_term_is_known_and_short() -> None:
    assert {name.split()[0] for name in OF_COMMAND} <= set(COMMANDS)
    assert {topic for topics in OF_COMMAND.values() for topic in topics} == set(TOPICS)
    assert all(term.meaning.endswith(".") and len(term.meaning) < 200 for term in TERMS)
    assert all(re.compile(term.seen) for term in TERMS)
    assert len({term.name for term in TERMS}) == len(TERMS)
