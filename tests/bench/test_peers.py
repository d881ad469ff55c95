"""The others' configurations, held before the others themselves."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench import certificate
from bench.child import free_port
from bench.fronts import Place
from bench.machine import program
from bench.peers import PEERS, Peer, installed

# How each is asked whether it would start: words at the end of its command, or in place of others of it.
CHECKS: Mapping[str, Callable[[list[str]], list[str]]] = {
    "nginx": lambda command: [*command, "-t"],
    "haproxy": lambda command: [*command, "-c"],
    "haproxy tcp": lambda command: [*command, "-c"],
    "caddy": lambda command: ["validate" if word == "run" else word for word in command],
    "hitch": lambda command: [*command, "--test"],
}
ASKED = [peer for peer in PEERS if peer.front.label in CHECKS]


@pytest.mark.parametrize("peer", ASKED, ids=lambda peer: peer.front.label)
def test_a_configuration_is_accepted(peer: Peer, tmp_path: Path) -> None:
    """The peer itself finds no fault with what the bench writes for it."""
    if peer.program is None or program(peer.program) is None:
        pytest.skip(f"{peer.program} is not installed")
    (tmp_path / "certificate").mkdir()
    place = Place(tmp_path, free_port(), free_port(), certificate.make(tmp_path / "certificate"))
    launch = peer.front.launch(place)
    done = subprocess.run(
        CHECKS[peer.front.label](launch.command),
        capture_output=True,
        text=True,
        check=False,
        env={**launch.environment, "PATH": "/usr/sbin:/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower().replace('"level":"warn"', "")


def test_what_is_wanted_and_there_keeps_its_order() -> None:
    """The order of the rounds is the table's; one name may stand for a front in each mode."""
    assert [front.label for front in installed(["plain"])] == ["plain aiohttp"]
    if program("haproxy"):
        assert [front.label for front in installed(["haproxy", "plain"])] == ["haproxy", "plain aiohttp", "haproxy tcp"]


def test_each_peer_has_a_label_of_its_own() -> None:
    """Figures are kept by label."""
    labels = [peer.front.label for peer in PEERS]
    assert len(set(labels)) == len(labels)
