"""Of the variables that sidecars with new versions share: what keeps versions, tells the app and watches over it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tlsproxy.companions.rollout import telling
from tlsproxy.companions.rollout.commands import CommandError, run
from tlsproxy.companions.rollout.history import History
from tlsproxy.companions.rollout.outcomes import Check, RefusedError, Tell, Watch
from tlsproxy.companions.rollout.releases import Releases
from tlsproxy.companions.rollout.rollout import Rollout
from tlsproxy.companions.rollout.watching import watch_over

if TYPE_CHECKING:
    from tlsproxy.companions.rollout.variables import RolloutVariables

HISTORY_FILE = "..history.json"
_FEW = 10
"""Entries of the history for each version that is kept: rejected ones and rollbacks are entries, too."""


def rollout(
    settings: "RolloutVariables", directory: Path, program: str, check: Check, *, tells: bool = True
) -> Rollout:
    """Changes of that directory, as the settings have them.

    Args:
        settings: read for their attributes alone.
        directory: where versions are published.
        program: its name: commands find the version in PROGRAM_VERSION, and the app's URL in the field Program-Version.
        check: what a version is held to before CHECK_COMMAND.
        tells: whether the app hears of it, and is watched: one that has not started needs neither.
    """
    releases = Releases(directory, settings.layout, keep=settings.history, mode=settings.mode, owner=settings.owner)
    history = History(directory / HISTORY_FILE, settings.history * _FEW)
    check = checks(settings, check)
    if not tells:
        return Rollout(releases, history, check=check)
    return Rollout(releases, history, check=check, tell=_tell(settings, directory, program), watch=_watch(settings))


def checks(settings: "RolloutVariables", check: Check) -> Check:
    """That check, and then CHECK_COMMAND's."""
    return partial(_checked, check, settings.check_command, settings.check_timeout)


async def _checked(check: Check, command: tuple[str, ...], within: float, staged: Path) -> None:
    await check(staged)
    if not command:
        return
    try:
        await run(command, within, directory=staged)
    except CommandError as error:
        if error.status is None:
            raise
        raise RefusedError(str(error)) from None


def _tell(settings: "RolloutVariables", directory: Path, program: str) -> Tell:
    told = _TELLING[settings.tell](settings, directory, program)

    async def tell(name: str) -> None:
        try:
            await told.tell(name)
        except telling.DeclinedError as error:
            raise RefusedError(str(error)) from None

    return tell


def _watch(settings: "RolloutVariables") -> Watch:
    probe = settings.health
    if probe is None:
        return _nothing
    return partial(watch_over, probe, settings.health_within, settings.health_for)


async def _nothing() -> None:
    pass


# --- Ways of telling ---------------------------------------------------------------------------------------


def _signal(settings: "RolloutVariables", *_: object) -> telling.Telling:
    assert settings.tell_process is not None, "held by the settings"
    return telling.Signal(settings.tell_process, settings.tell_signal)


def _end(settings: "RolloutVariables", *_: object) -> telling.Telling:
    assert settings.tell_process is not None, "held by the settings"
    return telling.End(settings.tell_process, settings.tell_grace)


def _http(settings: "RolloutVariables", _: Path, program: str) -> telling.Telling:
    assert settings.tell_url is not None, "held by the settings"
    field, method = f"{program.capitalize()}-Version", settings.tell_method.upper()
    return telling.HttpRequest(settings.tell_url, method, settings.tell_status, settings.tell_timeout, field)


def _command(settings: "RolloutVariables", directory: Path, program: str) -> telling.Telling:
    prefix = program.upper()

    def variables(name: str) -> Mapping[str, str]:
        return {f"{prefix}_VERSION": name, f"{prefix}_DIR": str(directory)}

    return telling.Command(settings.tell_command, settings.tell_timeout, variables)


def _touch(settings: "RolloutVariables", *_: object) -> telling.Telling:
    assert settings.tell_file is not None, "held by the settings"
    return telling.Touch(settings.tell_file)


_TELLING: "Mapping[str, Callable[[RolloutVariables, Path, str], telling.Telling]]" = {
    "none": lambda *_: telling.Nothing(),
    "signal": _signal,
    "end": _end,
    "http": _http,
    "command": _command,
    "touch": _touch,
}
