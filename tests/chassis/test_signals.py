"""Signals as events."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine

import pytest

from tlsproxy.chassis.diagnostics import configure
from tlsproxy.chassis.signals import Signals, dump_stacks


def run(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 5))


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "interrupted"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_asked_to_stop(number: signal.Signals, interrupted: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The first asks to stop, the second to stop at once; it is known whether a person waits."""
    caplog.set_level("INFO")

    async def scene() -> None:
        signals = Signals(asyncio.get_running_loop(), {})
        assert not signals.stop.is_set()
        send(number)
        await signals.stop.wait()
        assert signals.interrupted is interrupted
        assert not signals.stop_at_once.is_set()
        send(number)
        await signals.stop_at_once.wait()

    run(scene())
    assert caplog.messages == [f"{number.name}: draining", f"{number.name} again: stopping at once"]


def test_the_second_may_be_another() -> None:
    """SIGINT after SIGTERM stops at once, and does not change who asked first."""

    async def scene() -> None:
        signals = Signals(asyncio.get_running_loop(), {})
        send(signal.SIGTERM)
        await signals.stop.wait()
        send(signal.SIGINT)
        await signals.stop_at_once.wait()
        assert not signals.interrupted

    run(scene())


def test_other_signals() -> None:
    """What a program does at another signal is called each time, and stops nothing."""

    async def scene() -> None:
        called: asyncio.Queue[str] = asyncio.Queue()
        signals = Signals(asyncio.get_running_loop(), {signal.SIGHUP: lambda: called.put_nowait("hung up")})
        for _ in range(2):
            send(signal.SIGHUP)
            await called.get()
        assert not signals.stop.is_set()

    run(scene())


@pytest.fixture
def configured(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Diagnostics go to standard error; what that changes is undone with the test."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    configure("json", "info")
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("configured")
def test_stacks(capfd: pytest.CaptureFixture[str]) -> None:
    """SIGUSR1 writes where each task stands to standard error, and nothing to standard output."""

    async def standing_here() -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        Signals(asyncio.get_running_loop(), {})
        task = asyncio.create_task(standing_here(), name="the stuck one")
        await asyncio.sleep(0)
        send(signal.SIGUSR1)
        seen = ""
        while "standing_here" not in seen:
            await asyncio.sleep(0.001)
            out, err = capfd.readouterr()
            assert out == ""
            seen += err
        assert "tasks" in seen
        task.cancel()

    run(scene())


@pytest.mark.usefixtures("configured")
def test_a_dump_names_the_tasks(capfd: pytest.CaptureFixture[str]) -> None:
    """Each task is named, so that the reader finds the one."""

    async def scene() -> None:
        task = asyncio.create_task(asyncio.sleep(100), name="the stuck one")
        await asyncio.sleep(0)
        dump_stacks()
        task.cancel()

    run(scene())
    assert "the stuck one" in capfd.readouterr().err
