"""Charts: texts are escaped, gaps stay gaps, axes have round numbers."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from toolchain.reporting.charts.svg import Chart, interval_bar, linear_axis, log_axis, whole_axis
from toolchain.reporting.charts.training import accuracy_chart, loss_chart, rates_chart


def test_a_chart_is_well_formed_whatever_it_is_called() -> None:
    chart = Chart(linear_axis(0, 1, '<b>"&\x1b'), linear_axis(0, 1, ""), "<i>\u202e")
    chart.text(1, 1, "</svg><script>")
    root = ElementTree.fromstring(str(chart.svg()))
    assert root.attrib["aria-label"] == "<i> "
    assert "</svg><script>" in [element.text for element in root]


def test_a_line_has_a_gap_where_a_value_is_not_finite() -> None:
    chart = Chart(whole_axis(1, 4, "epoch"), linear_axis(0, 1, "loss"), "loss")
    chart.line([1, 2, 3, 4], [0.1, math.nan, 0.3, 0.4], "accent")
    [path] = [part for part in chart.parts if part.startswith("<path")]
    assert path.count("M") == 2
    assert "nan" not in path


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (0.85, 1, ["85 %", "90 %", "95 %", "100 %"]),
        (0.99, 1, ["99.0 %", "99.2 %", "99.4 %", "99.6 %", "99.8 %", "100.0 %"]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, texts: list[str]) -> None:
    assert [text for _, text in linear_axis(low, high, "", unit="%").ticks] == texts


def test_axes_of_epochs_and_rates_hold_one_value_too() -> None:
    assert [text for _, text in whole_axis(1, 1, "epoch").ticks] == ["1"]
    assert [value for value, _ in whole_axis(1, 100, "epoch").ticks][:2] == [1, 20]
    axis = log_axis([1e-3, 1e-3], "rate")
    assert axis.low < axis.high
    assert 0 <= axis.share(1e-3) <= 1


@pytest.mark.parametrize("losses", [(0.5,), (0.5, 0.2, math.nan), (0.0, 0.0), (math.inf, 9e9)])
def test_training_of_any_losses_is_drawn(losses: tuple[float, ...]) -> None:
    epochs = [
        {"epoch": n, "train_loss": loss, "val_loss": loss, "val_accuracy": None,
         "learning_rates": [0.0]}
        for n, loss in enumerate(losses, start=1)
    ]  # fmt: skip
    for chart in (loss_chart(epochs, 1), accuracy_chart(epochs, 1)):
        ElementTree.fromstring(str(chart))
        assert "nan" not in chart
        assert "inf" not in str(chart).replace("up to inf", "")
    assert rates_chart(epochs, 1) is None


def test_an_interval_at_the_end_stays_in_its_bar() -> None:
    for value, low, high in ((1.0, 0.98, 1.0), (0.0, 0.0, 0.02)):
        root = ElementTree.fromstring(str(interval_bar(value, low, high, "interval")))
        for element in root:
            x, width = float(element.attrib["x"]), float(element.attrib["width"])
            assert 0 <= x <= x + width <= 100.8
