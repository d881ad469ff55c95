"""The wheel is the same whoever builds it, where and when."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_THE_WHEEL = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """What builds it, as the lock pins it."""
    place = tmp_path / "tools"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place), "--require-hashes"]
    done = subprocess.run(
        [*install, "--requirement", str(ROOT / "requirements-build.lock")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"what builds it can't be installed: {done.stderr.strip().splitlines()[-1]}")
    return place


def digest(tools: Path, place: Path, umask: int) -> str:
    """Of a wheel that is built from a copy of the tree at that place."""
    ignored = shutil.ignore_patterns("__pycache__")
    # Not `copytree` with the times: here every file is new.
    shutil.copytree(ROOT / "tlsproxy", place / "tlsproxy", ignore=ignored, copy_function=shutil.copyfile)
    for name in OF_THE_WHEEL:
        shutil.copyfile(ROOT / name, place / name)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tools), "SOURCE_DATE_EPOCH": "1700000000"}
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "made"]
    subprocess.run(build, cwd=place, env=environment, capture_output=True, check=True, umask=umask)
    (wheel,) = (place / "made").iterdir()
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.soak
def test_two_builds_are_one(tools: Path, tmp_path: Path) -> None:
    """From another directory, with files of other times and rights, comes the same wheel, byte by byte."""
    one = digest(tools, tmp_path / "one", 0o022)
    os.utime(tmp_path / "one" / "README.md", (0, 0))
    assert digest(tools, tmp_path / "elsewhere" / "deeper", 0o077) == one
