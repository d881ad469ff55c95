"""The page's figures come from a run, and from nothing else."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import documents, report, results, tables
from bench.endurance import Endurance
from bench.idle import Idle
from bench.latency import APP, Course, Found
from bench.machine import Cores, Machine
from bench.nginx import Handshakes
from bench.probe import Connection
from bench.proc import Memory
from bench.results import FrontFacts, Results
from bench.rounds import Sample
from bench.transfers import Transfer
from bench.variants import Compared

MIB = 1024**2
ROOT = Path(documents.__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
SIZING = ROOT / "docs" / "sizing.md"
README = ROOT / "README.md"
LABELS = ("nginx", "plain aiohttp", "tlsproxy")


def sample(cpu_us: float, latency: float = 0) -> Sample:
    percentiles = {"0": latency / 2, "50": latency, "99": 2 * latency, "99.9": 3 * latency, "100": 4 * latency}
    return Sample(100, 0, cpu_us, 5000, 0.5, 0.99, 0, None, latency=percentiles if latency else {})


def memory(mib: int) -> Memory:
    return Memory(mib * MIB, mib * MIB, mib * MIB)


def facts(label: str) -> FrontFacts:
    connection = Connection("TLSv1.3", "TLS_AES_256_GCM_SHA384", resumes=True)
    return FrontFacts([label], {}, label == "tlsproxy", connection, 0.3, memory(20), memory(40))


@pytest.fixture
def whole() -> Results:
    """A run of everything, with figures that are easy to find again."""
    samples = {label: [sample(cpu), sample(cpu + 2)] for label, cpu in zip(LABELS, (20, 100, 40), strict=True)}
    rates = [("tlsproxy", 200), ("nginx", 100), (APP, 60)]
    return Results(
        date="2026-11-21T12:00:00+00:00",
        command=["python", "-m", "bench", "--write-docs"],
        rounds=2,
        seconds=1,
        machine=Machine("A processor", 2, "6.1", 0.1, {"nginx": "1.22.1"}),
        cores=Cores((1,), (0,)),
        fronts={label: facts(label) for label in LABELS},
        samples={"small": samples, "1m": samples, "open-1000": samples},
        handshakes={"full": Handshakes(90, 0)},
        transfers=[Transfer("tlsproxy", "down", 1, 0.9, 20 * MIB, 30 * MIB)],
        starts={"nginx": [0.02], "tlsproxy": [0.31, 0.29]},
        idle=[
            Idle(label, memory(20), memory(21), {1000: memory(41), 10_000: memory(300)}, memory(50)) for label in LABELS
        ],
        latency=[
            *(Found(Course(target, 12_500, "tlsproxy"), [sample(1, of)]) for target, of in rates),
            Found(Course("tlsproxy", 12_500, "tlsproxy", rotating=True), [sample(1, 300)], renewed=3),
        ],
        variants={"log": {"tlsproxy": Compared([sample(40)], [sample(38)], apart=True)}},
        endurance=[Endurance("tlsproxy", [(0, 40 * 2**20), (500_000, 42 * 2**20), (1_000_100, 43 * 2**20)])],
        notes=["something was missing"],
        took=700.0,
    )


def bare() -> Results:
    """A run that has measured nothing."""
    return Results("2026-11-21", [], 1, 1, Machine("", 2, "", 0.0, {}), Cores((1,), (0,)))


def test_a_run_that_was_written_is_read_again(whole: Results, tmp_path: Path) -> None:
    """Nothing is lost in the file, so that an earlier run can be told of again."""
    assert results.read(results.write(whole, tmp_path)) == whole


def test_the_pages_have_all_sections() -> None:
    """Every section of a page is known, and every known one is on the page."""
    documents.with_sections(PAGE.read_text(), documents.sections(bare()))
    documents.with_sections(SIZING.read_text(), documents.sizing_sections(bare()))
    documents.with_sections(README.read_text(), documents.in_short(bare()))


def test_a_page_with_another_section_is_refused() -> None:
    """A figure that nobody writes anew would grow stale."""
    page = PAGE.read_text() + "<!-- bench old -->\n1.0\n<!-- /bench -->\n"
    with pytest.raises(ValueError, match="'old'"):
        documents.with_sections(page, documents.sections(bare()))


def test_page_and_pictures_are_written_whole_and_again(whole: Results, tmp_path: Path) -> None:
    """Date, versions and command stand with the figures; writing twice changes nothing; pictures are well-formed."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for one in (PAGE, SIZING):
        (docs / one.name).write_text(one.read_text())
    (tmp_path / "README.md").write_text(README.read_text())
    written = documents.write(whole, docs)
    page = (docs / "benchmarks.md").read_text()
    for shown in ("`python -m bench --write-docs`", "2026-11-21T12:00", "nginx 1.22.1", "something was missing"):
        assert shown in page
    assert "| 100 B, keep-alive | 21.0 | 101.0 | 41.0 | 0.51 (0.50-0.52) | 2.46 |" in page
    assert "| tlsproxy | 40.0 | 42.0 | 42.0 | 42.0 | 43.0 | 43.0 | 43.0 | 1,000,100 |" in page
    assert "| small responses, to nginx | 0.51 | 0.62 | 0.85 | NOT reached |" in page
    assert "| p99 of both at half of tlsproxy's capacity | 0.2 ms | 0.4 ms |" in (tmp_path / "README.md").read_text()
    documents.write(whole, docs)
    assert (docs / "benchmarks.md").read_text() == page
    pictures = [path for path in written if path.suffix == ".svg"]
    assert len(pictures) == 5
    for picture in pictures:
        ET.parse(picture)  # noqa: S314 (made by ourselves a moment ago)
        assert f"]({picture.relative_to(docs)})" in page


def test_the_summary_has_the_worst_news(whole: Results) -> None:
    """Beside the plainest load stands the one that ours bears worst beside nginx; nothing of what was not measured."""
    whole.samples["10k"] = {"nginx": [sample(20)], "tlsproxy": [sample(80)]}
    assert tables.summary(whole).rows == [
        ["CPU time for a request: 100 B, keep-alive", "21.0 us", "41.0 us"],
        ["the same under the worst of all loads: 10 kB, keep-alive", "20.0 us", "80.0 us"],
        ["p99 of both at half of tlsproxy's capacity", "0.2 ms", "0.4 ms"],
        ["memory after all loads", "40.0 MiB", "40.0 MiB"],
    ]
    assert tables.summary(bare()).rows == []


def test_added_latency_is_that_over_the_app_alone(whole: Results) -> None:
    """The difference of percentiles at the same rate, and none for the app itself."""
    rows = {row[0]: row for row in tables.latency(whole).rows}
    assert rows["tlsproxy"][3:9] == ["200", "400", "600", "800", "140", "280"]
    assert rows[APP][7:9] == ["", ""]
    assert rows["tlsproxy, a new certificate every second"][-1].endswith("3 new certificates")


def test_a_full_load_side_is_marked_with_the_rate(whole: Results) -> None:
    """Whoever compares rates sees which are the generator's."""
    small = tables.rates(whole, "http").rows[0]
    assert small == ["100 B, keep-alive", "5000 *", "5000 *", "5000 *"]


def test_the_terminal_shows_a_whole_run_and_an_empty_one(whole: Results) -> None:
    """Each front, each load and each note; nothing of what was not measured."""
    text = report.render(whole)
    for shown in ("plain aiohttp", "100 B, 1,000 connections open", "one setting", "note: something", "floors for"):
        assert shown in text
    assert "latency" not in report.render(bare()).lower().replace("latency begins", "")
