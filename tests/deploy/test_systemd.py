"""deploy/systemd: systemd takes the unit, finds little exposed, and its times and limits are those of the sidecar."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tlsproxy.chassis.environment import read
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.open_files import PER_CONNECTION, RESERVE
from tlsproxy.settings import Settings

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "tlsproxy.service"
PAGE = UNIT.parents[2] / "docs" / "systemd.md"
MOST_EXPOSED = 1.5  # of 10; a service that says nothing has 9.6


def values(name: str) -> list[str]:
    """What the unit assigns to a name, in order."""
    return [line.split("=", 1)[1] for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]


def analyze(directory: Path, *arguments: str) -> str:
    """What systemd says of the unit, with a program that is there."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    copy = directory / UNIT.name
    copy.write_text(UNIT.read_text().replace(values("ExecStart")[0], "/bin/true"))
    command = [tool, *arguments, str(copy)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_systemd_takes_it(tmp_path: Path) -> None:
    """No setting is unknown or misspelled."""
    assert analyze(tmp_path, "verify", "--man=no") == ""


def test_little_is_exposed(tmp_path: Path) -> None:
    """systemd's own judgement of the sandbox."""
    said = analyze(tmp_path, "security", "--offline=yes", f"--threshold={MOST_EXPOSED * 10:.0f}", "--no-pager")
    assert "Overall exposure level" in said


def test_its_variables_are_the_sidecars() -> None:
    """They are known, and draining ends before systemd loses patience."""
    pairs = [pair.split("=", 1) for line in values("Environment") for pair in line.split()]
    reading = read(Settings, dict(pairs))
    assert reading.warnings == ()
    assert float(values("TimeoutStopSec")[0]) > reading.settings.drain_delay + reading.settings.drain_timeout
    assert values("RestartPreventExitStatus") == [str(Exit.SETTINGS.value)]


def test_open_files_are_enough() -> None:
    """For as many connections as are allowed by default."""
    assert int(values("LimitNOFILE")[0]) >= PER_CONNECTION * read(Settings, {}).settings.max_connections + RESERVE


def test_the_page_makes_what_the_unit_wants() -> None:
    """Program, group, certificates and variables are where the page puts them."""
    page = PAGE.read_text()
    (certificates,) = (line.removeprefix("TLSPROXY_CERT_DIR=") for line in values("Environment") if "CERT_DIR" in line)
    assert f"python3 -m venv {values('ExecStart')[0].removesuffix('/bin/tlsproxy')}\n" in page
    assert f"groupadd --system {values('SupplementaryGroups')[0]}\n" in page
    assert f"tls.crt tls.key {certificates}\n" in page
    assert f">{values('EnvironmentFile')[0].removeprefix('-')}\n" in page
