"""Secrets: shown nowhere, and read again on each use."""

import os
from copy import copy
from pathlib import Path

import pytest

from tlsproxy.chassis.secrets import SecretFileError, SecretText, read_secret, secret_of


def test_shows_the_mask() -> None:
    """Whatever prints it, and whoever sends it to another process of ours still has it."""
    secret = SecretText("hush")
    assert {repr(secret), str(secret), f"{secret}", f"{[secret]}"} == {"***", "[***]"}
    assert copy(secret).reveal() == "hush"
    assert secret == SecretText("hush")
    assert secret != SecretText("other")
    assert secret != "hush"


def test_a_file_is_read_on_each_use(tmp_path: Path) -> None:
    """It is replaced while the program runs; the newline of its end is no part of it."""
    file = tmp_path / "token"
    file.write_text("one\n")
    secret = secret_of(None, file)
    assert secret is not None
    assert secret() == "one"
    file.write_text(" two ")
    assert secret() == "two"


def test_a_variable_or_nothing() -> None:
    """Without a file it is the variable's, without both there is none."""
    secret = secret_of(SecretText("hush"), None)
    assert secret is not None
    assert secret() == "hush"
    assert secret_of(None, None) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "token: no such file or directory"),
        (b"", "token is empty"),
        (b" \n", "token is empty"),
        (b"\xffhush", "token: this is no text that could be a secret"),
        (b"hush\0", "token: this is no text that could be a secret"),
        (b"hush" * 20_000, "token: this is no text that could be a secret"),
    ],
)
def test_a_file_that_holds_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The message names the file and says nothing of what it holds, and neither does what led to it."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SecretFileError) as raised:
        read_secret(file)
    assert str(raised.value) == f"{tmp_path}/{said}"
    assert "hush" not in repr(raised.value.__context__)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR])
def test_a_pipe_is_not_waited_for(tmp_path: Path, flags: int) -> None:
    """Whether it has a writer or none: who asks may be the loop that everything else waits for."""
    file = tmp_path / "token"
    os.mkfifo(file)
    descriptor = os.open(file, flags | os.O_NONBLOCK)
    with pytest.raises(SecretFileError, match="token is empty"):
        read_secret(file)
    os.close(descriptor)
