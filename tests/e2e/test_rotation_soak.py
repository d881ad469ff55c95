"""Rotation after rotation for longer: nothing is lost, the new certificate is there soon, and memory does not grow.

The figures are printed: pytest -m soak -s tests/e2e/test_rotation_soak.py.
"""

import resource
import signal
import statistics
import sys
import time
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, place, swap_secret
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar
from tests.e2e.test_rotation import NEVER, reloads, serial
from tests.e2e.traffic import Traffic, echo

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

PAGE = resource.getpagesize()
SECONDS = 25.0
LATEST = 2.0
RELOADS = 300
PIECES = 5
"""The memory is looked at so often while the reloads go on."""
MEMORY = 2 * 1024 * 1024
"""By how much it may be larger after the last piece than after the second: the heap's own slack."""


@pytest.fixture(scope="session")
def launch(launch_from_nothing: Launch) -> Launch:
    """A fork shares memory with what it was forked from."""
    return launch_from_nothing


def test_rotations_under_load(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many rotations as fit, each seen in new handshakes before the next: no request is lost, none comes late."""
    app.script(echo)
    swap_secret(tmp_path, issue(authority))
    process = sidecar(CERT_DIR=tmp_path, CERT_RESYNC_PERIOD=NEVER)
    times: list[float] = []
    with Traffic(process) as traffic:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            pair = issue(authority)
            swap_secret(tmp_path, pair)
            start = time.monotonic()
            wait_until(lambda: serial(process) == pair.serial, "the new certificate", LATEST + 3)  # noqa: B023  # at once
            times.append(time.monotonic() - start)
    assert reloads(process, "loaded") == 1 + len(times)
    assert reloads(process, "failed") == 0
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(times)} rotations, {sum(traffic.answered)} requests and pieces, {len(traffic.lost)} lost; from "
            f"swap to new handshake: median {statistics.median(times):.3f} s, worst {max(times):.3f} s\n"
        )
    assert max(times) < LATEST


def test_memory_over_many_reloads(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reloads by SIGHUP leave neither memory nor descriptors behind, while clients come and go."""
    app.script(echo)
    pairs = [issue(authority) for _ in range(8)]
    place(tmp_path, pairs[0])
    process = sidecar(CERT_DIR=tmp_path, CERT_RESYNC_PERIOD=NEVER)
    seen: list[tuple[int, int]] = []
    with Traffic(process) as traffic:
        for piece in range(PIECES):
            for number in range(RELOADS // PIECES):
                pair = pairs[(piece * (RELOADS // PIECES) + number + 1) % len(pairs)]
                place(tmp_path, pair)
                process.signal(signal.SIGHUP)
                wait_until(lambda: serial(process) == pair.serial, "the new certificate", 5)  # noqa: B023  # at once
            seen.append((resident(process), process.open_files()))
    assert reloads(process, "loaded") == 1 + RELOADS
    memory, files = zip(*seen, strict=True)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{RELOADS} reloads, {sum(traffic.answered)} requests and pieces, {len(traffic.lost)} lost; resident "
            f"{', '.join(f'{size / 2**20:.1f}' for size in memory)} MiB, descriptors {', '.join(map(str, files))}\n"
        )
    assert memory[-1] - memory[1] < MEMORY
    assert max(files) - min(files) < 8


def resident(process: Sidecar) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * PAGE
