"""What is changed in a pod so that the sidecar is in it, and what keeps it out; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tlsproxy.inject import probes, sidecar
from tlsproxy.inject.documents import Mapping, mapping_at, mappings_at, text_at
from tlsproxy.inject.refusals import Refusal
from tlsproxy.inject.rewriting import Rewriting
from tlsproxy.inject.sidecar import Shape
from tlsproxy.inject.workloads import JOBS, Subject
from tlsproxy.settings import Settings

_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_DEFAULT_GRACE: Final = 30


@dataclass(frozen=True, slots=True)
class App:
    """The container that the sidecar is for."""

    name: str
    container: Mapping
    port: int
    port_name: str

    @property
    def path(self) -> str:
        """Of the container, from the pod's root."""
        return f"spec.containers[{self.name}]"

    @property
    def ports(self) -> frozenset[str]:
        """The port as probes and Services may write it."""
        return frozenset(filter(None, (str(self.port), self.port_name)))


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of the containers and ports is the app's; empty: the only one."""

    container: str = ""
    port: str = ""


# --- Finding the app ---------------------------------------------------------------------------------------


def find_app(subject: Subject, asked: Asked) -> App:
    """The container and port that requests are for.

    Raises:
        Refusal: there is none, or more than one.
    """
    containers = _containers(subject)
    if not containers:
        raise Refusal(subject.place, "there is no container in it", "leave it out by --only KIND/NAME of the others")
    if asked.container:
        containers = tuple(one for one in containers if text_at(one, "name") == asked.container)
        if not containers:
            raise Refusal(subject.place, f"no container is named {asked.container}", "see --app-container")
    apps = [app for one in containers for app in _apps(one)]
    chosen = [app for app in apps if not asked.port or asked.port in app.ports]
    if not chosen and len(containers) == 1 and _is_port(asked.port):
        # A port counts whether it is declared or not.
        return App(text_at(containers[0], "name"), containers[0], int(asked.port), "")
    if len(chosen) != 1:
        raise _undecided(subject, apps, chosen, asked)
    return chosen[0]


def _containers(subject: Subject) -> tuple[Mapping, ...]:
    spec = mapping_at(subject.root, "spec") if subject.complete else None
    return mappings_at(spec, "containers") if spec else ()


def _apps(container: Mapping) -> Iterator[App]:
    for port in mappings_at(container, "ports"):
        number = text_at(port, "containerPort")
        if _is_port(number) and text_at(port, "protocol", "TCP") == "TCP":
            yield App(text_at(container, "name"), container, int(number), text_at(port, "name"))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535


def _undecided(subject: Subject, apps: list[App], chosen: list[App], asked: Asked) -> Refusal:
    if not apps:
        way_out = "name the app's with --app-port, or leave the object out by --only KIND/NAME of the others"
        return Refusal(subject.place, "no container declares a TCP port", way_out)
    listed = ", ".join(f"{app.name}: {app.port}{f' ({app.port_name})' if app.port_name else ''}" for app in apps)
    if not chosen:
        return Refusal(
            subject.place, f"no port is {asked.port} (there are {listed})", "name one of these by --app-port"
        )
    way_out = "choose one by --app-port, and by --app-container where that is not enough"
    return Refusal(subject.place, f"several ports could be the app's ({listed})", way_out)


# --- What keeps the sidecar out ----------------------------------------------------------------------------


def require_room(subject: Subject, app: App, shape: Shape, settings: Settings) -> None:
    """Raise Refusal for the first thing of the pod that the sidecar can't be beside."""
    spec = mapping_at(subject.root, "spec")
    assert spec is not None
    for finding in (
        _windows(spec),
        _name_taken(spec),
        _port_taken(spec, app, settings),
        _volume_taken(spec),
        _own_tls(app),
        _endless(subject, shape, settings),
        _unreachable_admin(settings),
    ):
        if finding:
            raise Refusal(subject.place, *finding)


Finding = tuple[str, str] | None
"""What is wrong and the way out."""


def _windows(spec: Mapping) -> Finding:
    system, nodes = mapping_at(spec, "os"), mapping_at(spec, "nodeSelector")
    named = {text_at(system, "name") if system else "", text_at(nodes, "kubernetes.io/os") if nodes else ""}
    if "windows" in named:
        return "its containers are Windows containers, and the sidecar's image is for Linux", "leave it out by --only"
    return None


def _name_taken(spec: Mapping) -> Finding:
    if any(text_at(one, "name") == sidecar.NAME for one in _all_containers(spec)):
        what = f"it has a container named {sidecar.NAME} that inject has not put there"
        return what, "rename that container or take it out"
    return None


def _port_taken(spec: Mapping, app: App, settings: Settings) -> Finding:
    variables = {"tlsproxy": "LISTEN_PORT", "tlsproxy-admin": "ADMIN_PORT", "tlsproxy-http": "REDIRECT_PORT"}
    taken = {str(app.port): app.name} | {
        text_at(port, "containerPort"): text_at(one, "name")
        for one in _all_containers(spec)
        if one in mappings_at(spec, "containers") or text_at(one, "restartPolicy") == "Always"
        for port in mappings_at(one, "ports")
        if text_at(port, "protocol", "TCP") == "TCP"
    }
    for name, port in sidecar.ports(settings).items():
        if str(port) in taken:
            return (
                f"container {taken[str(port)]} has port {port}",
                f"give the sidecar another by --set {variables[name]}=PORT",
            )
    return None


def _volume_taken(spec: Mapping) -> Finding:
    if any(text_at(one, "name") == sidecar.VOLUME for one in mappings_at(spec, "volumes")):
        return f"it has a volume named {sidecar.VOLUME} that inject has not put there", "rename that volume"
    return None


def _own_tls(app: App) -> Finding:
    place = probes.speaks_tls(app.container, app.path, app.ports)
    if place:
        what = f"{place} asks port {app.port} by HTTPS, so the app has TLS of its own there"
        return what, "name the app's plain port by --app-port"
    return None


def _endless(subject: Subject, shape: Shape, settings: Settings) -> Finding:
    if subject.kind in JOBS and not shape.native and not settings.follow_app:
        what = "its pod would never end: an ordinary container goes on when the app is done"
        return what, "let it be a native one (Kubernetes 1.29 or newer, without --ordinary), or --set FOLLOW_APP=on"
    return None


def _unreachable_admin(settings: Settings) -> Finding:
    if not settings.admin_port or settings.admin_host in {"127.0.0.1", "::1", "localhost"}:
        return "the kubelet could not ask the sidecar's probes", "leave ADMIN_PORT and ADMIN_HOST as they are"
    return None


def _all_containers(spec: Mapping) -> tuple[Mapping, ...]:
    return (*mappings_at(spec, "containers"), *mappings_at(spec, "initContainers"))


def node_ports(subject: Subject, settings: Settings) -> frozenset[int]:
    """The ports of the node that the sidecar would take."""
    spec = mapping_at(subject.root, "spec")
    on_node = spec is not None and text_at(spec, "hostNetwork").lower() in _TRUE
    return frozenset(sidecar.ports(settings).values()) if on_node else frozenset()


# --- The change --------------------------------------------------------------------------------------------


def put_sidecar(rewriting: Rewriting, app: App, shape: Shape, settings: Settings) -> Iterator[str]:
    """Make every change; yields what the operator has to know and nobody has changed.

    Raises:
        Refusal: a change can't be made.
    """
    beside = "initContainers" if shape.native else "containers"
    kind = "a native one: it starts before the app and ends after it" if shape.native else "an ordinary container"
    why = f"the sidecar, {kind}; HTTPS on {settings.listen_port}, forwarded to port {app.port} of {app.name}"
    rewriting.add(f"spec.{beside}[{sidecar.NAME}]", sidecar.container(shape, settings, app.port), why)
    why = f"the Secret {shape.secret}, for the sidecar alone; a renewed one is served without a restart"
    rewriting.add(f"spec.volumes[{sidecar.VOLUME}]", sidecar.volume(shape), why)
    if shape.on_localhost:
        probes.move(rewriting, app.container, app.path, app.ports, settings)
    yield from _keep_app(rewriting, app, shape, settings)
    _allow_time(rewriting, settings)


def _keep_app(rewriting: Rewriting, app: App, shape: Shape, settings: Settings) -> Iterator[str]:
    seconds = sidecar.app_stays(shape, settings)
    if not seconds:
        return
    lifecycle = mapping_at(app.container, "lifecycle")
    if lifecycle and mapping_at(lifecycle, "preStop"):
        yield f"{app.path} keeps its own preStop; it has to last {seconds} s, or requests fail while the pod ends"
        return
    until = "load balancers have noticed that the pod ends" if shape.native else "the sidecar's requests are done"
    rewriting.add(f"{app.path}.lifecycle.preStop", sidecar.pre_stop(shape, seconds), f"the app stays until {until}")
    if not shape.sleep_action:
        yield f"{app.path} needs a program named sleep in its image (Kubernetes 1.30 and newer can do without)"


def _allow_time(rewriting: Rewriting, settings: Settings) -> None:
    spec = mapping_at(rewriting.root, "spec")
    assert spec is not None
    given, needed = text_at(spec, "terminationGracePeriodSeconds"), sidecar.grace_period(settings)
    path, why = "spec.terminationGracePeriodSeconds", f"draining and stopping take up to {needed} s"
    if given.isdecimal() and len(given) <= len(str(needed)) and int(given) < needed:
        rewriting.replace(path, needed, why)
    elif not given and needed > _DEFAULT_GRACE:
        rewriting.add(path, needed, why)


def labels(subject: Subject) -> dict[str, str]:
    """The pod's labels, which Services select by."""
    metadata = mapping_at(subject.root, "metadata")
    given = mapping_at(metadata, "labels") if metadata else None
    return {entry.key: text_at(given, entry.key) for entry in given.entries} if given else {}
