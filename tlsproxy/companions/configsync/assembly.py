"""Of configsync's settings: its sources, what a version is held to, and its changes."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tlsproxy.chassis.secrets import secret_of
from tlsproxy.companions.configsync.checking import FormatError, check_files
from tlsproxy.companions.configsync.formats import Formats
from tlsproxy.companions.configsync.sources.client import Bounds
from tlsproxy.companions.configsync.sources.content import Source
from tlsproxy.companions.configsync.sources.credentials import Credentials
from tlsproxy.companions.configsync.sources.follower import Pace
from tlsproxy.companions.configsync.sources.kubernetes import Cluster
from tlsproxy.companions.configsync.sources.opening import opened
from tlsproxy.companions.rollout import assembly
from tlsproxy.companions.rollout.outcomes import Check, RefusedError
from tlsproxy.companions.rollout.rollout import Rollout

if TYPE_CHECKING:
    from tlsproxy.companions.configsync.settings import Settings

_CONNECT = 10.0
_HEAD = 20.0


def sources(settings: "Settings") -> tuple[Source, ...]:
    """All of them, each to be closed."""
    within = settings.timeout
    bounds = Bounds(settings.max_size, min(_CONNECT, within), min(_HEAD, within), within)
    cluster = Cluster(settings.kubernetes_api, settings.kubernetes_account)
    return opened(settings.sources, _credentials(settings), cluster, bounds)


def _credentials(settings: "Settings") -> Credentials:
    token = secret_of(settings.token, settings.token_file)
    password = secret_of(settings.password, settings.password_file)
    return Credentials(
        token,
        (lambda: (settings.username, password())) if password else None,
        settings.client_cert,
        settings.client_key,
        settings.ca_file,
    )


def pace(settings: "Settings") -> Pace:
    """How often a source is asked."""
    return Pace(settings.update_period, longest_retry=settings.retry_max)


def rollout(settings: "Settings") -> Rollout:
    """The changes of the volume."""
    return assembly.rollout(settings, settings.dir, "configsync", _formats(settings), tells=not settings.one_time)


def checks(settings: "Settings") -> Check:
    """All that a version is held to before it is seen."""
    return assembly.checks(settings, _formats(settings))


def _formats(settings: "Settings") -> Check:
    formats = Formats(
        settings.format, settings.json_schema, settings.allow_empty, settings.max_size, settings.check_timeout
    )
    return partial(_check, formats)


async def _check(formats: Formats, staged: Path) -> None:
    try:
        await check_files(staged, formats)
    except FormatError as error:
        raise RefusedError(str(error)) from None
