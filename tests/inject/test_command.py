"""The verb, as its users run it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.inject import corpus
from tlsproxy.chassis.exits import Exit
from tlsproxy.cli import main

IMAGE = ["--image", "registry.example/tlsproxy:1"]


def run(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, bytes, str]:
    status = main(["inject", *IMAGE, *arguments])
    said = capfdbinary.readouterr()
    return status, said.out, said.err.decode()


def path(name: str) -> str:
    return str(corpus.MANIFESTS / name)


def test_a_file(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The manifest goes to standard output with the line ends that it had; notes go to standard error."""
    status, out, err = run(capfdbinary, path("crlf.yaml"), "--secret", "shop", "--services")
    assert (status, out) == (0, corpus.golden("crlf.yaml").read_bytes())
    assert err.startswith("tlsproxy inject: note: service/shop")


def test_standard_input(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """So it stands behind helm or kustomize in a pipe."""
    given = corpus.golden("deployment.yaml").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert run(capfdbinary, "--remove") == (0, corpus.text("deployment.yaml").encode(), "")


def test_the_terminals_encoding_does_not_matter() -> None:
    """A manifest is UTF-8, whatever the environment has."""
    command = [sys.executable, "-m", "tlsproxy", "inject", *IMAGE, path("unicode.yaml"), "--secret", "shop"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out = subprocess.run(command, env=environment, capture_output=True, timeout=30, check=True).stdout
    assert out == corpus.golden("unicode.yaml").read_bytes()


def test_diff(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A unified diff in place of the manifest, and a line of why for each change."""
    status, out, err = run(capfdbinary, path("no-end.yaml"), "--secret", "shop", "--diff")
    lines = out.decode().splitlines()
    assert (status, lines[0], lines[1]) == (0, f"--- {path('no-end.yaml')}", f"+++ {path('no-end.yaml')} (injected)")
    assert "\\ No newline at end of file" in lines
    assert not [line for line in lines if line.startswith("-") and "containerPort" not in line and "---" not in line]
    assert [line.split(": ")[2] for line in err.splitlines()] == [
        "spec.initContainers[tlsproxy]",
        "spec.volumes[tlsproxy-certificate]",
        "spec.containers[app].lifecycle.preStop",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deployment.yaml"], "the certificate's Secret is not named; give one, such as --secret shop"),
        (["deployment.yaml", "--secret", "Shop"], "'Shop' is no Secret's name"),
        (["deployment.yaml", "--secret", "a/../b"], "is no Secret's name"),
        (["deployment.yaml", "--secret", "shop", "--set", "HTST=1"], "--set HTST=1: NAME=VALUE with a variable"),
        (["deployment.yaml", "--secret", "shop", "--set", "HTST=1"], "did you mean HSTS?"),
        (["deployment.yaml", "--secret", "shop", "--set", "HSTS"], "NAME=VALUE"),
        (["deployment.yaml", "--secret", "shop", "--set", "APP_PORT=1"], "APP_PORT is given by --app-port"),
        (["deployment.yaml", "--secret", "shop", "--set", "HSTS=soon"], "TLSPROXY_HSTS"),
        (["nobody.yaml", "--secret", "shop"], "nobody.yaml: No such file or directory; name a file"),
        (["ordinary.yaml", "--secret", "shop"], "(document 1, line 1): several ports could be the app's"),
    ],
)
def test_mistakes(capfdbinary: pytest.CaptureFixture[bytes], arguments: list[str], said: str) -> None:
    """They end with 2, a message with the way out, and nothing on standard output."""
    status, out, err = run(capfdbinary, path(arguments[0]), *arguments[1:])
    assert (status, out) == (Exit.SETTINGS, b"")
    assert said in err
    assert all(line.startswith("tlsproxy inject: ") for line in err.splitlines())
    assert "Traceback" not in err


def test_what_is_not_text(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are refused with the place of the first."""
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: \xff\n")
    status, out, err = run(capfdbinary, str(file), "--secret", "shop")
    assert (status, out) == (Exit.SETTINGS, b"")
    assert "byte 3 is not UTF-8" in err


def test_nothing_to_take_out(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The manifest passes, and that is said."""
    status, out, err = run(capfdbinary, path("deployment.yaml"), "--remove")
    assert (status, out) == (0, corpus.text("deployment.yaml").encode())
    assert "note: nothing is changed: nothing in it has the annotation tlsproxy/injected" in err


def test_messages_are_escaped(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    """A manifest can't write to the terminal what it likes."""
    file = tmp_path / "x.yaml"
    file.write_text('{apiVersion: v1, kind: Pod, metadata: {name: "\\e[2J"}, spec: {}}')
    assert "\x1b" not in run(capfdbinary, str(file), "--secret", "shop")[2]
