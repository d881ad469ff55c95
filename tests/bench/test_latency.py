"""Which rates are taken, and what becomes of the certificate meanwhile."""

import time
from pathlib import Path

from bench import certificate
from bench.latency import APP, Course, Found, courses, p99_ratio, rotations
from bench.rounds import Sample, Spread


def sample(p99: float, late: float = 0) -> Sample:
    return Sample(1, 0, 1, 1, 1, 0, 0, None, latency={"99": p99}, late={"99": late})


def test_each_front_gets_half_of_its_capacity_and_has_its_company() -> None:
    """20 us are 50,000 a second, so 25,000; the reference and the app get the same, ours with rotations besides."""
    planned = courses({"nginx": 20, "slow": 100, "ours": 40}, ["ours"], "nginx", only_ours=False)
    assert planned == [
        Course("nginx", 25_000, "nginx"),
        Course(APP, 25_000, "nginx"),
        Course("slow", 5_000, "slow"),
        Course("nginx", 5_000, "slow"),
        Course(APP, 5_000, "slow"),
        Course("ours", 12_500, "ours"),
        Course("nginx", 12_500, "ours"),
        Course(APP, 12_500, "ours"),
        Course("ours", 12_500, "ours", rotating=True),
    ]
    assert {course.of for course in courses({"nginx": 20, "ours": 40}, ["ours"], "nginx", only_ours=True)} == {"ours"}
    assert [course.target for course in courses({"slow": 100}, [], "nginx", only_ours=False)] == ["slow", APP]


def test_the_app_alone_is_asked_without_tls() -> None:
    """It speaks plain HTTP."""
    assert not Course(APP, 1, "nginx").load.tls
    assert Course("nginx", 1, "nginx").load.tls


def test_the_ratio_of_p99_is_taken_within_a_round() -> None:
    """A round in which either has no latencies is left out."""
    found = [
        Found(Course("ours", 5, "ours"), [sample(200), sample(600), Sample(0, 1, 0, 0, 0, 0, 0, None)]),
        Found(Course("nginx", 5, "ours"), [sample(100), sample(200), sample(1)]),
    ]
    assert p99_ratio(found, "ours", "nginx") == Spread(2.5, 2, 3)
    assert p99_ratio(found, "ours", "caddy") is None


def test_a_late_generator_is_told() -> None:
    """A millisecond at p99 in most rounds; one bad round is not yet the rule."""
    course = Course("ours", 5, "ours")
    assert Found(course, [sample(1, late=5000), sample(1, late=5000), sample(1)]).generator_late
    assert not Found(course, [sample(1, late=5000), sample(1), sample(1)]).generator_late
    assert not Found(course).generator_late


def test_the_certificate_is_replaced_in_its_place(tmp_path: Path) -> None:
    """Chain and key are the spare's, and each replacement is counted."""
    made = []
    for name in ("served", "spare"):
        (tmp_path / name).mkdir()
        made.append(certificate.make(tmp_path / name))
    served, spare = made
    with rotations(served, [spare], every=0.01) as done:
        deadline = time.monotonic() + 5
        while len(done) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
    assert len(done) >= 2
    assert (served.chain.read_bytes(), served.key.read_bytes()) == (spare.chain.read_bytes(), spare.key.read_bytes())
