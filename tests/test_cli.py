"""The command line: verbs, exit statuses, and messages without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlsproxy import __version__
from tlsproxy.chassis.command_line import verbs
from tlsproxy.chassis.exits import Exit
from tlsproxy.cli import PROGRAM, main

PROJECT = Path(__file__).parents[1]


def tlsproxy(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it as a process, as its users do."""
    environment = {"PATH": os.environ["PATH"]} | {f"TLSPROXY_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "tlsproxy", *arguments]
    return subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
    )


def test_help_is_instant() -> None:
    """Help, version and mistakes load nothing of what serving needs."""
    code = (
        "import sys, contextlib, io, tlsproxy.cli\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    tlsproxy.cli.main(['--help'])\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    heavy = {"aiohttp", "pydantic", "cryptography", "ssl", "asyncio", "uvloop", "httptools", "tlsproxy.settings"}
    assert heavy & set(loaded.stdout.split()) == set()


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """And the two variables that matter."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in [*verbs(PROGRAM), "TLSPROXY_CERT_NAME", "TLSPROXY_APP_PORT"])


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"tlsproxy {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["serve"], ["run", "--port", "1"], ["dev-cert"], ["config", "--schema", "--docs"]]
)
def test_a_command_that_is_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake is status 2 and a usage line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: tlsproxy" in capsys.readouterr().err


def test_values_in_messages_are_escaped() -> None:
    """A value can't write to the terminal what it likes."""
    ended = tlsproxy("config", APP_PORT="\x1b[2J")
    assert ended.returncode == Exit.SETTINGS
    assert "\x1b" not in ended.stderr


def test_config_shows_where_values_come_from() -> None:
    """Each variable, its value and its source; warnings go to standard error."""
    ended = tlsproxy("config", APP_PORT="3000", APP_PROT="1")
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert any(line.startswith("TLSPROXY_APP_PORT=3000 ") and "default" not in line for line in lines)
    assert any(line.startswith("TLSPROXY_CERT_NAME=tls ") and line.endswith("# default") for line in lines)
    assert "TLSPROXY_APP_PROT" in ended.stderr


@pytest.mark.parametrize(("flag", "start"), [("--schema", "{"), ("--docs", "| name |")])
def test_config_makes_documents(flag: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They need no settings."""
    assert main(["config", flag]) == 0
    assert capsys.readouterr().out.startswith(start)


@pytest.mark.parametrize("flag", [[], ["--schema"], ["--docs"]])
def test_a_reader_may_have_seen_enough(flag: list[str]) -> None:
    """`tlsproxy config | head` is no error, however much there was still to be said."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        ended = subprocess.run(
            [sys.executable, "-m", "tlsproxy", "config", *flag],
            env={"PATH": os.environ["PATH"]},
            cwd=PROJECT,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("verb", [["config"], ["config", "--docs"], ["import-nginx", "--env", "-"]])
def test_a_full_disk(verb: list[str]) -> None:
    """What could not be written is told, and is no success."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tlsproxy", *verb],
            env={"PATH": os.environ["PATH"]},
            cwd=PROJECT,
            input=b"VIRTUAL_HOST=a",
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    said = f"tlsproxy {verb[0]}: the output is not complete: No space left on device\n".encode()
    assert (ended.returncode, ended.stderr) == (Exit.FAILED, said)


def test_bad_settings_nobody_hears_of() -> None:
    """The status is that of bad settings where the message can't be written."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tlsproxy", "check"],
            env={"PATH": os.environ["PATH"], "TLSPROXY_APP_PORT": "x"},
            cwd=PROJECT,
            stderr=full,
            timeout=30,
            check=False,
        )
    assert ended.returncode == Exit.SETTINGS


def test_dev_cert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was written is listed; what is there is not replaced unless that is asked for."""
    directory = tmp_path / "certs"
    assert main(["dev-cert", str(directory), "shop.example"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert all(Path(path).is_file() for path in written)
    assert {Path(path).name for path in written} >= {"tls.crt", "tls.key"}
    assert main(["dev-cert", str(directory)]) == Exit.FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tlsproxy dev-cert: ")
    assert main(["dev-cert", str(directory), "--force"]) == 0


def test_dev_cert_without_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that can't be made is named."""
    (tmp_path / "file").write_text("")
    assert main(["dev-cert", str(tmp_path / "file" / "certs")]) == Exit.FAILED
    assert "file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "package"), [(["inject", "--remove"], "ruamel"), (["import-nginx", "/dev/null"], "crossplane")]
)
def test_what_only_one_verb_needs(verb: list[str], package: str) -> None:
    """Where a package of the extra is absent, its verb says how to have it, and the others do not care."""
    code = f"import sys; sys.modules[{package!r}] = None; from tlsproxy.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", code, *verb], capture_output=True, text=True, timeout=30, check=False, cwd=PROJECT
    )
    assert (ended.returncode, ended.stdout) == (Exit.FAILED, "")
    assert ended.stderr.startswith(f"tlsproxy {verb[0]}: {package}")
    assert "is not installed; pip install 'tlsproxy[inject]' has it" in ended.stderr
    command = [sys.executable, "-c", code, "config", "--schema"]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False, cwd=PROJECT).returncode == 0


def test_health_of_nobody() -> None:
    """Nobody listens: 1, and a line that says where it was asked."""
    ended = tlsproxy("health", ADMIN_HOST="127.0.0.1", ADMIN_PORT="1")
    assert ended.returncode == Exit.FAILED
    assert "127.0.0.1:1" in ended.stderr
