"""The limit of open files: raised as far as may be, never lowered, and said where that is not enough."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tls.material import NOBODY
from tlsproxy.chassis.open_files import RESERVE

CAP_SYS_RESOURCE = 24
# A process of its own: a hard limit that was lowered stays so.
SCRIPT = """
import os, resource, sys
from tlsproxy.chassis.open_files import make_room
soft, hard, user, connections, processes = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
if os.geteuid() == 0:
    os.setuid(user)
room = make_room(connections, processes)
print(room.connections, *resource.getrlimit(resource.RLIMIT_NOFILE), room.shortage)
"""


def made(soft: int, hard: int, connections: int, user: int = NOBODY, processes: int = 1) -> list[str]:
    """Connections that there is room for, the limits then, and the words for the operator, if any."""
    command = [sys.executable, "-c", SCRIPT, *map(str, (soft, hard, user, connections, processes))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(" ", 3)


def may_raise_hard_limits() -> bool:
    (effective,) = re.findall(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(int(effective, 16) >> CAP_SYS_RESOURCE & 1)


def test_the_soft_limit_is_raised() -> None:
    """To what is needed, two for each connection and a reserve, and not further."""
    assert made(256, 4096, 1000) == ["1000", str(2000 + RESERVE), "4096"]


@pytest.mark.parametrize("soft", [200 + RESERVE, 4000])
def test_nothing_is_lowered(soft: int) -> None:
    """What is enough is left alone."""
    assert made(soft, 4096, 100) == ["100", str(soft), "4096"]


def test_the_hard_limit_is_raised_where_that_is_allowed() -> None:
    """A privileged process gets all that it needs."""
    if not may_raise_hard_limits():
        pytest.skip("needs CAP_SYS_RESOURCE")
    needed = str(2000 + RESERVE)
    assert made(256, 512, 1000, user=0) == ["1000", needed, needed]


def test_what_is_not_allowed_is_said() -> None:
    """The soft limit goes up to the hard one, as many are served as that allows, and the way out is named."""
    connections, soft, hard, shortage = made(256, 512, 1000)
    fitting = (512 - RESERVE) // 2
    assert (int(connections), soft, hard) == (fitting, "512", "512")
    needed = 2000 + RESERVE
    assert shortage == (
        f"TLSPROXY_MAX_CONNECTIONS=1000 needs {needed} open files, and 512 are allowed: {fitting} connections are "
        f"served at once, and more wait; allow more (ulimit -n {needed}, LimitNOFILE={needed}, "
        f"--ulimit nofile={needed}), or set TLSPROXY_MAX_CONNECTIONS to {fitting}"
    )


def test_several_processes_have_a_limit_each() -> None:
    """What one needs for its share, and all of them together as many connections as that allows."""
    assert made(256, 4096, 1000, processes=3)[:2] == ["1000", str(2 * 334 + RESERVE)]
    fitting = 3 * ((512 - RESERVE) // 2)
    assert made(256, 512, 1000, processes=3)[:2] == [str(fitting), "512"]


def test_what_no_kernel_allows() -> None:
    """Nobody can have that many, and that is no reason not to start."""
    connections, soft, hard, shortage = made(256, 512, 10**11, user=0)
    assert (int(connections), soft, hard) == ((512 - RESERVE) // 2, "512", "512")
    assert shortage


def test_there_is_always_room_for_one() -> None:
    """A limit below the reserve leaves one connection at a time."""
    assert made(64, 64, 10)[:3] == ["1", "64", "64"]
