"""Snapshots and processes as JSON."""

import json

from tests.companions.topz.snapshots import NOTHING, PROCESSES, SNAPSHOT
from tlsproxy.companions.topz import contract
from tlsproxy.companions.topz.data import render, render_detail
from tlsproxy.companions.topz.detail import Detail, Socket
from tlsproxy.companions.topz.question import parse_question
from tlsproxy.companions.topz.rows import choose


def test_everything() -> None:
    """Plain names with units; what is not known is null."""
    values = json.loads(json.dumps(render(SNAPSHOT, choose(SNAPSHOT, parse_question("sort=pid"), 0))))
    assert (values["taken"], values["interval_seconds"], values["processes_found"]) == ("2023-11-15T22:13:20Z", 5.0, 6)
    assert values["machine"]["name"] == "legacy-app-7d4b"
    worker = values["processes"][2]
    assert worker["command"] == "worker <b>&amp;"
    assert (worker["cpu_percent"], worker["rss_bytes"], worker["container"]) == (87.5, 20_000_000, "app")
    assert set(values["processes"][5].values()) == {30, None, 0}
    app = values["containers"][0]
    assert (app["cpu_limit"], app["memory_percent"], app["throttled_percent"]) == (1.5, 59.605, 40.0)
    assert app["pressure"]["cpu"]["full_seconds"] == 1.0


def test_the_contract_has_all_names() -> None:
    """The names of the fields are a promise."""
    values = render(SNAPSHOT, choose(SNAPSHOT, parse_question(""), 0))
    processes, containers = values["processes"], values["containers"]
    assert isinstance(processes, list)
    assert isinstance(containers, list)
    assert list(processes[0]) == list(contract.JSON_PROCESS)
    assert list(containers[0]) == list(contract.JSON_CONTAINER)


def test_nothing() -> None:
    """Of nothing there are empty lists."""
    values = render(NOTHING, choose(NOTHING, parse_question(""), 0))
    assert (values["processes"], values["containers"], values["interval_seconds"]) == ([], [], None)


def test_one_process() -> None:
    """With its container, sockets and limits."""
    place = choose(SNAPSHOT, parse_question(""), 0).place
    socket = Socket("tcp", "127.0.0.1:80", "", "listen")
    detail = Detail(
        PROCESSES[1], SNAPSHOT.containers[0], sockets=(socket,), limits=(("Max", "1", "2"),), switches=(1, 2)
    )
    values = json.loads(json.dumps(render_detail(detail, place)))
    assert values["sockets"] == [{"protocol": "tcp", "local": "127.0.0.1:80", "remote": "", "state": "listen"}]
    assert values["limits"] == {"Max": {"soft": "1", "hard": "2"}}
    assert values["context_switches"] == {"voluntary": 1, "involuntary": 2}
    assert values["container_details"]["name"] == "app"
    assert render_detail(Detail(PROCESSES[5], None), place)["container_details"] is None
