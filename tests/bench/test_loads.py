"""The loads and what their generators print."""

import os
import sys
from pathlib import Path

import pytest

from bench.child import await_port, free_port, running
from bench.generator.task import Task
from bench.loads import LOADS, UPLOAD, Generation, GeneratorError, Load, Tally, read_tally


def test_the_last_line_holds_the_figures_and_refusals_are_no_answers() -> None:
    """wrk's own report comes first; answers of 400 and above do not count as answered."""
    output = (
        "Running 1s test\n  100 requests in 2s\n\n"
        '{"requests": 100, "microseconds": 2000000, "refused": 3, "broken": 2, "resumed": null}\n'
    )
    assert read_tally(output) == Tally(answered=97, refused=3, broken=2, seconds=2.0, resumed=None)


def test_latencies_are_read_where_there_are_some() -> None:
    """Percentiles by their names, in microseconds."""
    output = (
        '{"requests": 2, "microseconds": 1, "refused": 0, "broken": 0, "resumed": null, '
        '"latency": {"50": 90.5}, "late": {}}'
    )
    assert read_tally(output).latency == {"50": 90.5}


@pytest.mark.parametrize("output", ["", "unable to connect", '{"requests": 1}', "[]"])
def test_no_figures_is_an_error(output: str) -> None:
    """A generator that printed anything else has failed."""
    with pytest.raises(GeneratorError):
        read_tally(output)


def test_the_browser_sends_twenty_fields_and_a_cookie_of_two_kilobytes() -> None:
    """The browser's head is as large as its title says, Host included."""
    browser = next(load for load in LOADS if load.name == "browser")
    assert len(browser.headers) + 1 == 20
    assert len(next(field for field in browser.headers if field.startswith("Cookie:"))) > 2048


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_full_handshakes_are_not_left_to_wrk(mode: str) -> None:
    """wrk resumes sessions, so the loads of full handshakes are made by the program that does not."""
    full = next(load for load in LOADS if load.counts_handshakes and not load.resumes and load.mode == mode)
    assert "bench.full_handshakes" in full.command(1, 1)


def test_an_upload_has_a_target_of_its_own_and_a_size() -> None:
    """wrk's script is told how large the body is; other loads ask for a file and send none."""
    up = next(load for load in LOADS if load.upload)
    assert up.command(1, 1)[-3:] == [f"https://127.0.0.1:1{UPLOAD}", "--", "1000000"]
    small = next(load for load in LOADS if load.name == "tcp-small")
    assert small.command(1, 1)[-1] == "https://127.0.0.1:1/100"


def test_what_a_generator_is_told_arrives() -> None:
    """A task crosses the pipe whole."""
    thousand = next(load for load in LOADS if load.name == "open-1000")
    task = Task.from_json(thousand.command(1, 1)[-1])
    assert task == Task("requests", port=1, connections=1000, in_flight=16)


def test_many_connections_never_ask_more_than_sixteen_at_once() -> None:
    """What grows is the number of connections, and nothing else."""
    grown = {load.connections: load.in_flight for load in LOADS if load.name.startswith("open-")}
    assert grown == {1: 1, 10: 10, 100: 16, 1000: 16, 10_000: 16}


def test_a_generator_that_cannot_connect_says_why() -> None:
    """Its last words are in the message, and nothing of it is left."""
    messages = next(load for load in LOADS if load.name == "ws")
    generation = Generation(messages, free_port(), tuple(os.sched_getaffinity(0)))
    with pytest.raises(GeneratorError, match=r"ws: it ended: ConnectionRefusedError"):
        generation.open()
    with pytest.raises(GeneratorError, match="Connection refused"):
        generation.open()
    generation.close()


def test_a_generator_keeps_its_connections_from_one_sample_to_the_next(tmp_path: Path) -> None:
    """Opened once, over the app itself: figures come each time, and no connection is opened for the second."""
    load = Load("x", "", 7, 3, generator="requests", tls=False, in_flight=2)
    cores, port = tuple(os.sched_getaffinity(0)), free_port()
    command = [sys.executable, "-m", "bench.stream_app", str(port)]
    with running(command, cores=cores, output=tmp_path / "app.log") as app:
        await_port(app, port)
        generation = Generation(load, port, cores)
        generation.open()
        opened, tallies = ports_of_clients(port), []
        for _ in range(2):
            generation.open()
            tallies.append(generation.make(0.1))
        assert ports_of_clients(port) == opened
        generation.close()
    assert len(opened) == 3
    assert all(tally.answered > 0 and not tally.broken for tally in tallies)


def ports_of_clients(port: int) -> set[str]:
    """The other ends of the connections that a port of 127.0.0.1 has (proc_net_tcp(5): state 01 is established)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {remote for _, local, remote, state, *_ in rows if local.endswith(f":{port:04X}") and state == "01"}
