"""What the sidecar is in a pod: its container, the Secret's volume, how it is started and probed; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from tlsproxy.inject.rendering import Plain
from tlsproxy.settings import Settings

NAME: Final = "tlsproxy"
VOLUME: Final = "tlsproxy-certificate"
NATIVE_SINCE: Final = (1, 29)
"""Init containers with `restartPolicy: Always` run beside the app from this Kubernetes on."""
SLEEP_SINCE: Final = (1, 30)
"""`preStop.sleep` is there from this Kubernetes on; before it, the app's image has to have a `sleep` of its own."""
TO_STOP: Final = 5
"""Seconds for the app to stop after its preStop, and for the sidecar after its drain."""
_BEYOND_CERT_WAIT: Final = 30
"""Seconds that the startup probe allows on top, so that the sidecar says itself what it has waited for in vain."""
_ADMIN: Final = "tlsproxy-admin"
_NOBODY: Final = 65532


@dataclass(frozen=True, slots=True)
class Shape:
    """What the sidecar is to be, the same for every pod."""

    secret: str
    image: str
    native: bool
    sleep_action: bool
    on_localhost: bool
    """Whether the app can be reached on the loopback address alone."""
    variables: Mapping[str, str]
    """Besides the two that matter, as written."""


def container(shape: Shape, settings: Settings, app_port: int) -> dict[str, Plain]:
    """The container."""
    variables = {"TLSPROXY_CERT_NAME": shape.secret, "TLSPROXY_APP_PORT": str(app_port), **shape.variables}
    restart: dict[str, Plain] = {"restartPolicy": "Always"} if shape.native else {}
    return {
        "name": NAME,
        "image": shape.image,
        **restart,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "ports": [{"name": name, "containerPort": port} for name, port in ports(settings).items()],
        "volumeMounts": [{"name": VOLUME, "mountPath": str(settings.cert_dir / shape.secret), "readOnly": True}],
        **_probes(settings),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsGroup": _NOBODY,
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def ports(settings: Settings) -> dict[str, int]:
    """Each port that the sidecar takes, by its name in the container."""
    taken = {"tlsproxy": settings.listen_port, _ADMIN: settings.admin_port}
    return taken | ({"tlsproxy-http": settings.redirect_port} if settings.redirect_port else {})


def volume(shape: Shape) -> dict[str, Plain]:
    """The Secret, which Kubernetes swaps in the mounted directory when it changes."""
    return {"name": VOLUME, "secret": {"secretName": shape.secret}}


def _probes(settings: Settings) -> dict[str, Plain]:
    def ask(path: str) -> dict[str, Plain]:
        return {"httpGet": {"path": path, "port": _ADMIN}}

    patience = ceil(settings.cert_wait) + _BEYOND_CERT_WAIT
    return {
        "startupProbe": {**ask("/startupz"), "periodSeconds": 1, "failureThreshold": patience},
        "readinessProbe": {**ask("/readyz"), "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**ask("/livez"), "timeoutSeconds": 5},
    }


# --- The end -----------------------------------------------------------------------------------------------


def app_stays(shape: Shape, settings: Settings) -> int:
    """Seconds for which the app is kept after the pod's end was asked for.

    A native sidecar is told only after the app has ended, and one with FOLLOW_APP goes on until then: the app waits
    until load balancers have noticed. Any other drains from the same moment on, and needs the app until it is done.
    """
    outlives = shape.native or settings.follow_app
    return ceil(settings.drain_delay + (0 if outlives else settings.drain_timeout))


def pre_stop(shape: Shape, seconds: int) -> dict[str, Plain]:
    """The hook that keeps the app."""
    return {"sleep": {"seconds": seconds}} if shape.sleep_action else {"exec": {"command": ["sleep", str(seconds)]}}


def grace_period(settings: Settings) -> int:
    """Seconds from the pod's end being asked for until nothing of it needs more time."""
    return ceil(settings.drain_delay + settings.drain_timeout) + TO_STOP
