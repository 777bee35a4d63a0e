"""What a calibration writes is what a plan reads, and the page of the ladder takes it."""

from bench import scaling
from bench.calibrate import SOLD_OUT_LINK, conclude
from bench.contest import Outcome, Sample, Scenario
from bench.document import regenerate
from stack.calibration import DRAIN, PROXIED, read_calibration
from stack.capacity import STATIC, Work

_DECIDED = {"decided_api_us": 80.0, "decided_gate_us": 1.0, "decided_postgres_us": 20.0}


def _samples() -> dict[str, list[Sample]]:
    """Three rounds; the middle one has the medians."""
    edge, api = {"edge_us": 12.0, "per_cpu_s": 1.0}, {"api_us": 40.0, "gate_us": 10.0, "rate_per_s": 9.0}
    figures: dict[str, dict[str, float]] = {
        work: dict(edge if work in STATIC else api) for work in Work if work is not Work.DECIDED
    }
    figures[Work.SOLD] |= {"worker_us": 40.0, "postgres_us": 50.0, "reservation_bytes": 400.0, **_DECIDED}
    figures[Work.THROTTLED] |= {"shopper_bytes": 80.0}
    figures[DRAIN] = {"orders_per_s": 10_000.0, "worker_us": 30.0}
    figures[PROXIED] = {"edge_us": 30.0, "sold_us": 200.0, "rate_per_s": 5.0, "placed_s": 1.0}
    figures[SOLD_OUT_LINK] = dict(edge)
    return {
        name.replace("_", " "): [Sample({one: value * by for one, value in found.items()}) for by in (3.0, 0.5, 1.0)]
        for name, found in figures.items()
    }


def _outcome(samples: dict[str, list[Sample]]) -> Outcome:
    return Outcome(Scenario("calibration", "", lambda _: []), samples)


def _written(tmp_path):
    path = tmp_path / "calibration.json"
    assert conclude(_outcome(_samples()), path, 3)
    return path


def test_a_void_or_stopped_run_writes_nothing(tmp_path, capsys):
    """One round of one subject sold a unit too many: nothing of that run is a price."""
    path = tmp_path / "calibration.json"
    samples = _samples()
    samples["sold"][1].faults.append("oversold is 1")
    assert not conclude(_outcome(samples), path, 3)
    assert "sold, round 2: oversold is 1" in capsys.readouterr().err
    assert not conclude(None, path, 3)
    assert not path.exists()


def test_a_figure_that_one_round_lacks_is_the_others(tmp_path):
    path = tmp_path / "calibration.json"
    samples = _samples()
    del samples["drain"][0].figures["orders_per_s"]
    assert conclude(_outcome(samples), path, 3)
    assert read_calibration(path).prices.orders_per_s == 7_500


def test_a_plan_reads_the_medians(tmp_path):
    prices = read_calibration(_written(tmp_path)).prices
    assert prices.us[Work.SOLD] == {"api": 40, "gate": 10, "worker": 40, "postgres": 50}
    assert prices.us[Work.DECIDED] == {"api": 80, "gate": 1, "postgres": 20}
    assert prices.us[Work.LOOK] == {"edge": 12}
    assert (prices.proxied_us, prices.orders_per_s) == (30, 10_000)
    assert (prices.reservation_bytes, prices.shopper_bytes) == (400, 80)


def test_spread_and_units_are_kept(tmp_path):
    figures = read_calibration(_written(tmp_path)).document["figures"]
    assert figures["sold"]["api_us"] == {"unit": "CPU-µs each", "median": 40, "lowest": 20, "highest": 120}
    assert figures["memory"]["shopper_bytes"]["unit"] == "bytes each"
    assert set(figures["proxied"]) == {"edge_us"}


def test_the_page_in_the_repository_takes_a_calibration(tmp_path):
    page = regenerate(scaling.PAGE.read_text(), scaling.sections(_written(tmp_path)))
    assert page.count("$ stampede plan --attempts ") == len(scaling.EXAMPLES)
    assert "| refused by the script, API process | 400.0 | 10 M × 40.0 µs |" in page
    assert "| sold | `api_us` | 40.0 | 20.0 – 120.0 | CPU-µs each |" in page
