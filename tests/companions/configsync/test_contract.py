"""What configsync promises besides its variables is what the code does."""

import json
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from tlsproxy.chassis.environment import read
from tlsproxy.companions.configsync import assembly, contract
from tlsproxy.companions.configsync.control import Control, _question
from tlsproxy.companions.configsync.settings import Settings
from tlsproxy.companions.rollout.history import BecameOf
from tlsproxy.companions.rollout.outcomes import Outcome


def test_every_outcome_is_told() -> None:
    """What the history says of a version is explained."""
    assert contract.OUTCOMES.keys() == set(get_args(BecameOf))


def test_every_path_of_the_control_port_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its method."""
    monkeypatch.setenv("CONFIGSYNC_SOURCES", "http://127.0.0.1/app.json")
    monkeypatch.setenv("CONFIGSYNC_DIR", str(tmp_path))
    settings = read(Settings).settings
    control = Control(settings, assembly.rollout(settings), lambda: None)
    there = {path: set(methods) for path, methods in control._paths.items()}
    assert {path: {told.partition(":")[0]} for path, told in contract.CONTROL.items()} == there


def test_every_field_of_the_control_port_is_told() -> None:
    """A question may have these and no others, and an answer has them all."""
    assert contract.ANSWER.keys() == {field.name for field in fields(Outcome)}
    assert _question(json.dumps(dict.fromkeys(contract.QUESTION, "x")).encode()) == ("x", "x")
    with pytest.raises(ValueError, match="the body is to be"):
        _question(b'{"name": "x"}')
