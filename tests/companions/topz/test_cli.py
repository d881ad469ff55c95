"""topz's command line: what surrounds its verbs is the chassis' (tests/chassis/test_command_line.py)."""

import ast
import builtins
from pathlib import Path

import pytest

from tlsproxy import __version__
from tlsproxy.companions.topz import cli
from tlsproxy.companions.topz.cli import PROGRAM, main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name and version, and nothing else."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"topz {__version__}\n"


def test_help_needs_nothing() -> None:
    """What is imported at once is the chassis' command line and words."""
    body = ast.parse(Path(cli.__file__).read_text()).body
    known = {node.module for node in body if isinstance(node, ast.ImportFrom)}
    ours = {name for name in known if name and name.startswith("tlsproxy")}
    assert ours == {"tlsproxy.chassis", "tlsproxy.chassis.exits", "tlsproxy.companions.topz.verbs"}


def test_without_psutil(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An installation without the extra is told its name; what is missing of the house's own is a fault."""
    real = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name == "tlsproxy.companions.topz.check":
            raise ModuleNotFoundError("No module", name="psutil")
        return real(name, *rest)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SystemExit) as ended:
        PROGRAM.check()
    assert ended.value.code == 1
    assert "topz: psutil is not installed; pip install 'tlsproxy[topz]' has it\n" in capsys.readouterr().err
