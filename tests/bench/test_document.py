"""The page: prose stays, sections are replaced, and the page in the repository has all marks."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from bench.contest import Outcome, Sample
from bench.document import PAGE, plots, regenerate, sections
from bench.plots import Bar, draw
from bench.record import Record, make_record
from bench.scenarios import ALL

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def record() -> Record:
    figures = dict.fromkeys(("api_us", "gate_us", "worker_us", "postgres_us", "edge_us", "sold_us"), 10.0)
    figures["orders_per_s"] = 9_000.0
    outcomes = [Outcome(one, {"subject": [Sample(figures)], "a | b": [Sample(figures)]}) for one in ALL]
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return make_record(outcomes, machine={"cores": "2"}, commit="abc", dirty=False, quick=False, at=at)


def test_sections_are_replaced_and_prose_stays():
    page = "# Title\n<!-- bench: run -->\nold\n<!-- /bench -->\nprose\n"
    once = regenerate(page, {"run": "new"})
    assert once == "# Title\n<!-- bench: run -->\nnew\n<!-- /bench -->\nprose\n"
    assert regenerate(once, {"run": "new"}) == once


@pytest.mark.parametrize("made", [{}, {"run": "", "other": ""}])
def test_marks_and_sections_must_match(made):
    with pytest.raises(ValueError):
        regenerate("<!-- bench: run -->\n<!-- /bench -->\n", made)


def test_the_page_in_the_repository_takes_a_run(record):
    page = regenerate(PAGE.read_text(), sections(record))
    for scenario in ALL:
        assert f"### {scenario.title}\n" in page
    assert "| a / b |" in page
    assert "targets met: **" in page


def test_plots_are_well_formed_and_named_on_the_page(record):
    page = PAGE.read_text()
    for name, svg in plots(record).items():
        assert ET.fromstring(svg).tag == f"{_SVG}svg"
        assert f"images/performance-{name}.svg" in page


def test_a_bar_has_a_rectangle_for_each_part():
    drawing = ET.fromstring(draw("A & B", "µs", [Bar("<one>", [1, 2, 3], 5, 7)], ("x", "y", "z")))
    widths = [float(rect.attrib["width"]) for rect in drawing.iter(f"{_SVG}rect") if rect.attrib.get("height") == "18"]
    assert len(widths) == 3
    assert widths[2] == pytest.approx(3 * widths[0], rel=0.01)
    assert "<one>" in [text.text for text in drawing.iter(f"{_SVG}text")]


def test_scenarios_and_targets_have_names_of_their_own():
    assert len({scenario.name for scenario in ALL}) == len(ALL)
    targets = [target.name for scenario in ALL for target in scenario.targets]
    assert len(set(targets)) == len(targets)
    assert not [name for name in targets if ", " in name], "the last line joins names by commas"
