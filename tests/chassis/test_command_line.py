"""What surrounds a verb, seen with a sidecar that does next to nothing (toy.py). tests/test_cli.py has more."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tlsproxy.chassis.exits import Exit

PROJECT = Path(__file__).parents[2]


def toy(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it as a process, as users do."""
    environment = {"PATH": os.environ["PATH"]} | {f"TOY_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "tests.chassis.toy", *arguments]
    return subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
    )


def test_run_serves() -> None:
    """The status is that of what serves; the log speaks in the program's name, and warns of names that are none."""
    ended = toy("run", COLOUR="green", COLOR="green")
    assert ended.returncode == Exit.PORT
    assert " warning toy.play: green " in ended.stderr
    assert " warning toy.settings: TOY_COLOR is not a known variable" in ended.stderr


def test_refused_settings() -> None:
    """The message lists them, and nothing is served."""
    ended = toy(LOG_LEVEL="loud")
    assert ended.returncode == Exit.SETTINGS
    assert ended.stderr == "bad settings:\n  TOY_LOG_LEVEL='loud': must be debug or info, for example info\n"


def test_secrets_come_over() -> None:
    """From the process that reads the settings to the one that uses them, and are shown by neither."""
    ended = toy("check", TOKEN="hush")
    assert (ended.returncode, ended.stdout) == (Exit.STOPPED, "*** hush ***\n")


def test_config() -> None:
    """The program's own variables, in each form."""
    assert toy("config", COLOUR="green").stdout.startswith("TOY_COLOUR=green ")
    assert next(iter(json.loads(toy("config", "--schema").stdout)["properties"])) == "TOY_COLOUR"
    assert "`TOY_COLOUR`" in toy("config", "--docs").stdout


def test_health_of_a_port_that_is_off() -> None:
    """Nothing can be asked, and the message names the program's own variable."""
    ended = toy("health")
    assert ended.returncode == Exit.FAILED
    assert "TOY_ADMIN_PORT=0" in ended.stderr


def test_its_own_verbs() -> None:
    """Their status is the process's."""
    assert toy("demo").returncode == 7
