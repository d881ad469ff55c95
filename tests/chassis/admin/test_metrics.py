"""Measures as Prometheus reads them."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tlsproxy.chassis.admin.metrics import render
from tlsproxy.chassis.measures import Distribution, Measure


def distribution(*observations: float) -> Distribution:
    result = Distribution((0.1, 1.0, 5.0))
    for seconds in observations:
        result.observe(seconds)
    return result


MEASURES = [
    Measure(
        "tlsproxy_requests_total",
        "counter",
        "Requests answered.",
        ("method", "code"),
        {("GET", "200"): 7, ("other", '4"0\\4\n'): 1},
    ),
    Measure("tlsproxy_received_bytes_total", "counter", "Bytes.", (), {(): 2**53}),
    Measure("tlsproxy_tunnels", "gauge", "Tunnels.", (), {(): 0}),
    Measure("tlsproxy_app_errors_total", "counter", "Failures.", ("reason",), {}),
    Measure(
        "tlsproxy_build_info",
        "gauge",
        "Versions.",
        ("version", "python", "openssl"),
        {("0.1.0", "3.11.2", "OpenSSL 3.0"): 1},
    ),
    Measure(
        "tlsproxy_request_duration_seconds",
        "histogram",
        "Durations.",
        (),
        {(): distribution(0.05, 0.1, 3, 9, 9)},
    ),
    Measure(
        "tlsproxy_app_connect_seconds",
        "histogram",
        "Connects.",
        ("family",),
        {("ipv4",): distribution(0.5), ("ipv6",): distribution()},
    ),
]


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = render(iter(MEASURES))[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_content_type() -> None:
    """The content type names the text format's version that every Prometheus reads."""
    assert render([])[1] == "text/plain; version=0.0.4; charset=utf-8"


def test_counters_and_gauges() -> None:
    """Values keep their names and labels, also when a label holds quotes, backslashes and newlines."""
    read = samples()
    assert read["tlsproxy_requests_total", (("code", "200"), ("method", "GET"))] == 7
    assert read["tlsproxy_requests_total", (("code", '4"0\\4\n'), ("method", "other"))] == 1
    assert read["tlsproxy_received_bytes_total", ()] == 2**53
    assert read["tlsproxy_tunnels", ()] == 0
    labels = (("openssl", "OpenSSL 3.0"), ("python", "3.11.2"), ("version", "0.1.0"))
    assert read["tlsproxy_build_info", labels] == 1


def test_histogram_is_cumulative() -> None:
    """Each bucket counts all that is at or under its bound, and +Inf and the count everything."""
    read = samples()
    name = "tlsproxy_request_duration_seconds"
    buckets = {bound: read[f"{name}_bucket", (("le", bound),)] for bound in ("0.1", "1.0", "5.0", "+Inf")}
    assert buckets == {"0.1": 2, "1.0": 2, "5.0": 3, "+Inf": 5}
    assert read[f"{name}_count", ()] == 5
    assert read[f"{name}_sum", ()] == pytest.approx(21.15)


def test_labelled_histogram() -> None:
    """Histograms of one family keep to their labels; an empty one counts nothing."""
    read = samples()
    assert read["tlsproxy_app_connect_seconds_bucket", (("family", "ipv4"), ("le", "+Inf"))] == 1
    assert read["tlsproxy_app_connect_seconds_count", (("family", "ipv6"),)] == 0


def test_families() -> None:
    """Ours come in the order given, then the process's; nothing of the library's global registry."""
    text = render(MEASURES)[0].decode()
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert families[: len(MEASURES)] == [(measure.name, measure.kind) for measure in MEASURES]
    assert {name for name, _ in families[len(MEASURES) :]} == {
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
    }


def test_promtool_finds_no_fault() -> None:
    """Prometheus' own linter accepts the text."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([promtool, "check", "metrics"], input=render(MEASURES)[0], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_processes_are_added_up() -> None:
    """Of several processes one sum is shown, with the start of the first; of one that has ended there is nothing."""
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            alone, both = (process_values(processes) for processes in ((), (other.pid, 2**22 + 1)))
        finally:
            other.kill()
    assert both["process_start_time_seconds"] == alone["process_start_time_seconds"]
    assert both["process_open_fds"] >= alone["process_open_fds"] + 3
    assert both["process_resident_memory_bytes"] > alone["process_resident_memory_bytes"]


def test_files_are_counted_by_their_own_process() -> None:
    """What other processes tell of their open files counts, and not what can be seen of them: they may hide it."""
    told = Measure("process_open_fds", "gauge", "Open files.", (), {(): 1000})
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            text = render([*MEASURES, told], (other.pid,))[0].decode()
        finally:
            other.kill()
    (value,) = re.findall(r"^process_open_fds (\S+)$", text, re.MULTILINE)
    assert float(value) == process_values(())["process_open_fds"] + 1000


def test_cpu_of_processes_that_have_ended_is_kept() -> None:
    """What a process has seen end counts with it: the sum of all is a counter, and does not go back."""
    spending = (
        "import os, time\n"
        "if not os.fork():\n"
        "    while time.process_time() < 0.3: pass\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-I", "-S", "-c", spending]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        alone, both = (process_values(processes)["process_cpu_seconds_total"] for processes in ((), (parent.pid,)))
        parent.kill()
    assert both - alone >= 0.25


def process_values(processes: Iterable[int]) -> dict[str, float]:
    text = render([], processes)[0].decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def test_a_thousand_certificates_are_cheap() -> None:
    """Requests wait while a scrape is made: what takes 10 ms on a free core is far from a tenth of a second."""
    names = [f"name-{number}" for number in range(1000)]
    gauges = [
        Measure(f"tlsproxy_{number}", "gauge", "Times.", ("name",), {(name,): 1.7e9 for name in names})
        for number in range(6)
    ]
    began = time.process_time()
    text, _ = render(gauges)
    assert time.process_time() - began < 0.1
    assert text.count(b"\n") > 6000


def test_library_is_not_loaded_by_the_server() -> None:
    """Who is not scraped does not pay for prometheus_client."""
    code = "import sys, tlsproxy.chassis.admin.server; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
