"""The change to a whole manifest: text in, text out; pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tlsproxy.chassis.environment import BadSettings, read
from tlsproxy.inject import edits, pods, routes, services
from tlsproxy.inject.documents import parse
from tlsproxy.inject.edits import Edit
from tlsproxy.inject.pods import Asked
from tlsproxy.inject.refusals import Refusal, Refused
from tlsproxy.inject.rewriting import Rewriting, is_rewritten, take_back
from tlsproxy.inject.services import Target
from tlsproxy.inject.sidecar import Shape
from tlsproxy.inject.workloads import Subject, is_service, subjects
from tlsproxy.settings import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    shape: Shape
    asked: Asked = field(default_factory=Asked)
    only: frozenset[str] = frozenset()
    """Titles such as `deployment/shop`; empty: all."""
    services: frozenset[str] = frozenset()
    """By name."""
    all_services: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The manifest afterwards, why each change was made, and what is left to the operator."""

    text: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def take_out(text: str, wanted: Callable[[Subject], bool]) -> Outcome:
    """The manifest without what inject has added to the objects that are wanted.

    Raises:
        Refused: with all that stands against it.
    """
    changes, refusals, reasons = list[Edit](), list[Refusal](), list[str]()
    for subject in subjects(parse(text)):
        if is_rewritten(subject.root) and wanted(subject):
            try:
                changes += take_back(text, subject.root, subject.place)
                reasons.append(f"{subject.place}: the sidecar is taken out, and what came with it")
            except Refusal as refusal:
                refusals.append(refusal)
    if refusals:
        raise Refused(refusals)
    return Outcome(edits.apply(text, changes), tuple(reasons))


def put_in(text: str, request: Request) -> Outcome:
    """The manifest with the sidecar in every pod; where it is already, in its place.

    Raises:
        Refused: with all that stands against it.
    """
    text = take_out(text, lambda subject: _wanted(request, subject)).text
    found = tuple(subjects(parse(text)))
    work = _Work(text, request, _settings(request.shape))
    for subject in found:
        if not is_service(subject) and _wanted(request, subject):
            work.attempt(work.pod, subject)
    for subject in found:
        if is_service(subject) and _wanted(request, subject):
            work.attempt(work.service, subject)
    work.notes += routes.leading_to(parse(text), work.pointed)
    work.refusals += _missing(request, found)
    if work.refusals:
        raise Refused(work.refusals)
    if not work.targets:
        work.notes.append("nothing is changed: there is no pod in it")
    return Outcome(edits.apply(text, work.edits), tuple(work.reasons), tuple(work.notes))


def _wanted(request: Request, subject: Subject) -> bool:
    if is_service(subject):
        return request.all_services or subject.name in request.services
    return not request.only or subject.title in request.only


def _missing(request: Request, found: Iterable[Subject]) -> Iterator[Refusal]:
    known = sorted(subject.title for subject in found)
    asked = request.only | {f"service/{name}" for name in request.services}
    for title in sorted(asked - set(known)):
        raise_for = f"there is {', '.join(known)}" if known else "there is no pod and no Service in the manifest"
        yield Refusal(title, "it is not in the manifest", raise_for)


@dataclass(slots=True)
class _Work:
    """The changes to one manifest so far."""

    text: str
    request: Request
    settings: Settings
    edits: list[Edit] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    pointed: set[tuple[str, str]] = field(default_factory=set)
    """Services that lead to a sidecar, by namespace and name."""
    _on_nodes: dict[int, str] = field(default_factory=dict)

    def attempt(self, change: Callable[[Rewriting, Subject], Iterable[str]], subject: Subject) -> None:
        rewriting = Rewriting(self.text, subject.root, subject.place)
        try:
            notes = [f"{subject.place}: {note}" for note in change(rewriting, subject)]
            if rewriting.edits:
                rewriting.finish()
        except Refusal as refusal:
            self.refusals.append(refusal)
        else:
            self.edits += rewriting.edits
            self.notes += notes
            self.reasons += (f"{subject.place}: {reason.path}: {reason.why}" for reason in rewriting.reasons)

    def pod(self, rewriting: Rewriting, subject: Subject) -> Iterator[str]:
        app = pods.find_app(subject, self.request.asked)
        shape, settings = self.request.shape, self.settings
        pods.require_room(subject, app, shape, settings)
        self._require_node_ports(subject)
        yield from pods.put_sidecar(rewriting, app, shape, settings)
        self.targets.append(Target(subject.namespace, pods.labels(subject), app.ports, settings.listen_port))

    def service(self, rewriting: Rewriting, subject: Subject) -> Iterator[str]:
        yield from services.point(rewriting, subject, self.targets, must=subject.name in self.request.services)
        if rewriting.edits:
            self.pointed.add((subject.namespace, subject.name))

    def _require_node_ports(self, subject: Subject) -> None:
        for port in sorted(pods.node_ports(subject, self.settings)):
            other = self._on_nodes.setdefault(port, subject.place)
            if other != subject.place:
                what = f"with hostNetwork its port {port} is the node's, and {other} has it already"
                raise Refusal(subject.place, what, "inject them one by one (--only), with other ports by --set")


def _settings(shape: Shape) -> Settings:
    """The sidecar's settings as it will read them, which is how they are checked.

    The app's port is each pod's own, and judged there: here a socket stands for it.
    """
    main = {f"{Settings.PREFIX}CERT_NAME": shape.secret, f"{Settings.PREFIX}APP_SOCKET": "/app"}
    try:
        return read(Settings, {**main, **shape.variables}).settings
    except BadSettings as error:
        raise Refused([str(error)]) from None
