"""Links of all pages, and the site that is made of them: its navigation and its links."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_docs import script

links = script("links")
site = script("build_site")


def test_every_link_and_anchor_of_the_pages_exists() -> None:
    assert [problem for page in links.pages() for problem in links.broken(page)] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("see [it](gone.md)", "page.md:1: gone.md: no such file"),
        ("![a picture](gone.png)", "page.md:1: gone.png: no such file"),
        ("[![both](here.md)](gone.md)", "page.md:1: gone.md: no such file"),
        ("\n[it](here.md#gone)", "page.md:2: here.md#gone: no such heading"),
        ("[it](#gone)", "page.md:1: #gone: no such heading"),
        ("[out](../../../etc/passwd)", "page.md:1: ../../../etc/passwd: outside of the project"),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "here.md").write_text("# Here\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert links.broken(page, tmp_path) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        "[it](here.md#what-it-says---quiet)",
        "[it](here.md#again-1)",
        "[site](https://example.com/gone.md#nowhere)",
        "`[code](gone.md)` and `a` [it](here.md)",
        "```text\n[it](gone.md)\n```",
    ],
)
def test_what_is_no_broken_link_is_not_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "here.md").write_text("# What it says: `--quiet`\n## Again\n## Again\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert links.broken(page, tmp_path) == []


def test_the_navigation_of_the_site_names_every_page_once() -> None:
    named = site.navigation()
    assert sorted(named) == sorted(site.place(source) for source in site.sources())


def test_links_of_the_site_lead_to_its_pages_and_to_copied_files(tmp_path: Path) -> None:
    site.write_pages(tmp_path)
    pages = sorted(tmp_path.rglob("*.md"))
    assert len(pages) == len(site.sources())
    assert [problem for page in pages for problem in links.broken(page, tmp_path)] == []


def test_a_link_of_the_site_is_written_for_the_place_of_its_page() -> None:
    text, linked = site.rewritten(ROOT / "docs" / "index.md")
    assert "[the suites](benchmark-suites.md)" in text
    assert ROOT / "docs" / "images" / "report.png" in linked
    text, _ = site.rewritten(ROOT / "examples" / "edge" / "README.md")
    assert "docs-check" not in text


def test_the_site_shows_titles_of_pages_for_names_of_files() -> None:
    source = ROOT / "docs" / "index.md"
    assert site.titled("[data.md](", source, "data.md#splits") == "[Your data]("
    assert site.titled("[your data](", source, "data.md") == "[your data]("


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
