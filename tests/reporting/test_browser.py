"""The page in headless Chromium: silent, without a request, in both schemes and both widths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarking.test_comparison import benchmark, case
from tests.reporting.chromium import Page, chromium_page, find_chromium
from tests.reporting.made_run import draw_photographs, made_run
from tests.reporting.test_measurements import SCENARIO
from toolchain.files import write_json
from toolchain.reporting.report import report

CLASSES = ("<script>alert(1)</script>", "a" * 80, "bees", "ants")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("page")
    names = draw_photographs(folder / "data", CLASSES, 6)
    run = made_run(folder / "run", folder / "data", CLASSES, names)
    found = benchmark(case([[7.0] * 40] * 5), scenarios=[SCENARIO])
    write_json(folder / "bench.json", found)
    report([run.path], bench=[folder / "bench.json"])
    with chromium_page(program, run.report) as opened:
        yield opened


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_is_silent(page: Page, width: int, scheme: str) -> None:
    page.show(width, "dark" if scheme == "dark" else "light")
    sizes = page.value(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] <= sizes[1]
    colour = page.value("getComputedStyle(document.body).backgroundColor")
    red = int(colour.removeprefix("rgb(").split(",")[0])
    assert red < 60 if scheme == "dark" else red > 200
    assert page.messages == []
    assert page.requests == []


def test_words_in_a_wide_table_are_lines_and_file_names_are_whole(page: Page) -> None:
    page.show(400, "light")
    words = "[...document.querySelectorAll('td.words')].map(cell => cell.offsetHeight)"
    assert 0 < max(page.value(words)) < 150
    names = "[...document.querySelectorAll('#speed th.file bdi')].map(name => name.offsetHeight)"
    assert 0 < max(page.value(names)) < 30
    page.show(1400, "light")


def test_charts_stand_side_by_side_on_paper_and_are_not_cut_off(page: Page) -> None:
    page.show(690, "light")  # what an A4 page leaves between its margins
    page.call("Emulation.setEmulatedMedia", media="print")
    columns = "getComputedStyle(document.querySelector('#results .charts')).gridTemplateColumns"
    assert len(page.value(columns).split()) == 2
    outside = (
        "[...document.querySelectorAll('.charts svg')].filter("
        "svg => getComputedStyle(svg).overflow !== 'visible').length"
    )
    assert page.value(outside) == 0
    page.call("Emulation.setEmulatedMedia", media="")


def test_every_picture_is_shown(page: Page) -> None:
    page.value("document.querySelectorAll('details').forEach(list => { list.open = true })")
    broken = page.value("[...document.images].filter(i => !i.naturalWidth).length")
    assert (page.value("document.images.length") > 20, broken) == (True, 0)


def test_a_number_of_the_matrix_opens_its_photographs(page: Page) -> None:
    page.value("document.querySelectorAll('details').forEach(list => { list.open = false })")
    page.value("document.querySelector('table.matrix a').click()")
    opened = page.value(
        "new Promise(done => setTimeout(() => done("
        "document.getElementById(location.hash.slice(1)).closest('details').open), 50))"
    )
    assert opened is True


def test_a_table_sorts_by_the_column_that_is_clicked(page: Page) -> None:
    table = "document.querySelector('#results table.sortable.full')"
    page.value(f"{table}.tHead.rows[0].cells[2].click()")
    read = f"[...{table}.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value))"
    values = page.value(read)
    assert values == sorted(values)
    page.value(f"{table}.tHead.rows[0].cells[2].click()")
    assert page.value(read) == sorted(values, reverse=True)


def test_a_script_that_is_not_the_page_s_own_does_not_run(page: Page) -> None:
    page.value(
        "{ const own = document.createElement('script'); own.textContent = 'window.ran = 1';"
        " document.body.append(own); }"
    )
    assert page.value("window.ran === undefined")
    page.events.clear()  # the browser complains of it, as it should


def test_the_page_reads_without_its_script(page: Page, tmp_path: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.reload()
    root = page.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    first = page.call("DOM.querySelector", nodeId=root, selector="#results .matrix a")["nodeId"]
    assert page.call("DOM.getBoxModel", nodeId=first)["model"]["width"] > 10
    page.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert page.messages == []
