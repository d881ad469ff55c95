"""The verb, as its users run it."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.import_nginx import corpus
from tlsproxy.chassis.exits import Exit
from tlsproxy.cli import main

ROOT = Path(__file__).parents[2]


def test_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """Variables and remarks go to standard output; includes that are not there are among them."""
    assert main(["import-nginx", str(corpus.FOLDER / "whole.conf")]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "\nTLSPROXY_APP_PORT=3000\n" in said.out
    assert "conf.d/nobody.conf (line 6)\n#   the file is not here" in said.out


def test_standard_input() -> None:
    """`nginx -T | tlsproxy import-nginx -` needs no file."""
    ended = subprocess.run(
        [sys.executable, "-m", "tlsproxy", "import-nginx", "-"],
        input=(corpus.FOLDER / "server.conf").read_bytes(),
        capture_output=True,
        cwd=ROOT,
        timeout=30,
        check=True,
    )
    assert ended.stdout.startswith(b"# from standard input, server legacy.example (line 2)\n")


def test_an_environment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file, or as `env` prints it."""
    path = corpus.FOLDER / "nginx-tls-terminator.env"
    assert main(["import-nginx", "--env", str(path)]) == 0
    from_file = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(path.read_text()))
    assert main(["import-nginx", "--env", "-"]) == 0
    assert capsys.readouterr().out == from_file == corpus.golden(path.name).read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.conf"], "absent.conf: No such file or directory"),
        (["--env", "absent.env"], "absent.env: No such file or directory; name a file of NAME=VALUE lines"),
        (["--env", "-", "--image", "x"], "no image x is known here"),
    ],
)
def test_mistakes(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end with 2 and a message, and print nothing else."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("A=b\n"))
    assert main(["import-nginx", *arguments]) == Exit.SETTINGS
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith(f"tlsproxy import-nginx: {said}")


def test_bytes_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are no environment."""
    (tmp_path / "x.env").write_bytes(b"A=\xff\n")
    assert main(["import-nginx", "--env", str(tmp_path / "x.env")]) == Exit.SETTINGS
    assert "it is not text" in capsys.readouterr().err


def test_what_the_sidecar_would_refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ports that met in nginx are told on standard error, and the variables are printed all the same."""
    (tmp_path / "x.env").write_text("PROXY_LISTEN_PORT=9000\nPROXY_UPSTREAM_PORT=9000\n")
    assert main(["import-nginx", "--env", str(tmp_path / "x.env")]) == 0
    streams = capsys.readouterr()
    assert "TLSPROXY_APP_PORT=9000" in streams.out
    assert "note: as it stands the sidecar would refuse it\ntlsproxy import-nginx: note: TLSPROXY_" in streams.err
    assert "TLSPROXY_LISTEN_PORT" in streams.err
