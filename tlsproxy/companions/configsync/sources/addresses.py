"""How sources are written in CONFIGSYNC_SOURCES, read and written back. Pure.

    sources  = source *("," source)      a comma within a URL is written %2C
    source   = [target "="] address      without a target: the last segment of the address, or the volume itself
    target   = file / directory "/"      a directory where the address gives several files
    address  = http[s]://HOST[:PORT]/PATH[?QUERY][#wait / #events[=PATH]]
             / etcd+http[s]://HOST[:PORT]/KEY        the key with its slash; a / at the end: all keys beneath it
             / etcd+http[s]://HOST[:PORT]/?key=KEY   a key that does not begin with a slash
             / configmap:[NAMESPACE/]NAME/[KEY]      a / at the end: all keys; NAME alone is NAME/
             / secret:[NAMESPACE/]NAME/[KEY]

A fragment is never sent (RFC 3986 section 3.5); here it says how to hear of changes before the period is over: by a
request that the server holds open, or by server-sent events, from the URL itself or from another path of its origin.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qs, quote, unquote, urljoin, urlsplit

from tlsproxy.chassis.kinds import Kind, parse_list
from tlsproxy.companions.configsync.sources.content import file_and_directory, file_name

Notice = Literal["poll", "wait", "events"]
"""How a change at an HTTP server is heard of: only by asking, by a held request, by server-sent events."""


@dataclass(frozen=True, slots=True)
class Origin:
    """RFC 6454: who gets credentials, and who is another one."""

    scheme: str
    host: str
    """Lower case, without brackets."""
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Of an absolute http or https URL; its port may be one that can't be: ValueError."""
        parts = urlsplit(url)
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname or "", default if parts.port is None else parts.port)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """One file at a URL."""

    target: str
    """The file's relative name."""
    url: str
    """Without user, password and fragment."""
    notice: Notice = "poll"
    events: str = ""
    """Where events come from, as it was written; empty: from the URL itself."""

    @property
    def events_url(self) -> str:
        """The absolute one, always of the same origin."""
        return urljoin(self.url, self.events)

    def __str__(self) -> str:
        fragment = "" if self.notice == "poll" else f"#{self.notice}" + (f"={self.events}" if self.events else "")
        return f"{self.target}={self.url}{fragment}"


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """One key, or all beneath a prefix."""

    target: str
    """The file's relative name; for a prefix the directory's, empty or with a `/` at its end."""
    endpoint: str
    """Such as `http://host:2379`."""
    key: str

    @property
    def several(self) -> bool:
        """Whether it stands for all keys beneath it."""
        return self.key.endswith("/")

    def __str__(self) -> str:
        path = quote(self.key) if self.key.startswith("/") else f"/?key={quote(self.key)}"
        return f"{_prefix(self.target)}etcd+{self.endpoint}{path}"


@dataclass(frozen=True, slots=True)
class KubernetesAddress:
    """One key of a ConfigMap or Secret, or all of them."""

    target: str
    """As an `EtcdAddress`'s."""
    kind: Literal["configmap", "secret"]
    name: str
    namespace: str = ""
    """Empty: the pod's own."""
    key: str = ""
    """Empty: all of them."""

    @property
    def several(self) -> bool:
        """Whether it stands for all keys."""
        return not self.key

    def __str__(self) -> str:
        namespace = f"{self.namespace}/" if self.namespace else ""
        return f"{_prefix(self.target)}{self.kind}:{namespace}{self.name}/{self.key}"


Address = HttpAddress | EtcdAddress | KubernetesAddress


def _prefix(target: str) -> str:
    return f"{target}=" if target else ""


# --- Reading -----------------------------------------------------------------------------------------------

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_OBJECT_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DATA_KEY = re.compile(r"(?!\.\.|\.$)[-._a-zA-Z0-9]{1,253}")
_ORIGIN_PATH = re.compile(r"/(?!/)[\x21-\x7e]*")


def parse_sources(text: str) -> tuple[Address, ...]:
    """The sources in their order.

    Raises:
        ValueError: with a plain reason that quotes no credentials.
    """
    sources = tuple(map(_source, parse_list(text)))
    if not sources:
        raise ValueError("there is no source in it")
    _refuse_clashes(sources)
    return sources


def spell_sources(sources: Iterable[Address]) -> str:
    """The inverse, with every target written out."""
    return ",".join(map(str, sources))


def _source(text: str) -> Address:
    target, equals, address = map(str.strip, text.partition("="))
    if not equals or ":" in target:
        # What has a colon in front of its first `=` is an address with a query.
        target, address = "", text
    elif not target:
        raise ValueError(f"there is no file in front of = in {_shown(text)}")
    scheme = address.partition(":")[0].lower()
    read = _SCHEMES.get(scheme)
    if read is None or ":" not in address:
        raise ValueError(f"{_shown(address)} begins with none of {', '.join(_SCHEMES)}")
    return read(target, scheme, address)


def _http(target: str, _scheme: str, address: str) -> HttpAddress:
    parts = _url(address)
    word, _, events = parts.fragment.partition("=")
    notice = _NOTICES.get(word)
    if notice is None or (events and notice != "events"):
        raise ValueError(f"#{parts.fragment} is none of #wait, #events and #events=/PATH")
    if events and not _ORIGIN_PATH.fullmatch(events):
        raise ValueError(f"#events={events}: a path of the same server, that starts with /")
    url = parts._replace(fragment="").geturl()
    return HttpAddress(_file(target, unquote(parts.path), address), url, notice, events)


def _etcd(target: str, _scheme: str, address: str) -> EtcdAddress:
    parts = _url(address.partition("+")[2])
    query = parse_qs(parts.query)
    if parts.fragment or query.keys() - {"key"} or len(query.get("key", ())) > 1 or (query and parts.path != "/"):
        raise ValueError(f"{_shown(address)} has more than a key, as in etcd+http://HOST:2379/KEY")
    key = query["key"][0] if query else unquote(parts.path)
    endpoint = f"{parts.scheme}://{parts.netloc}"
    if key in {"", "/"}:
        raise ValueError(f"{_shown(address)} names no key, as in etcd+http://HOST:2379/KEY")
    if key.endswith("/"):
        return EtcdAddress(_directory(target, address), endpoint, key)
    return EtcdAddress(_file(target, key, address), endpoint, key)


def _kubernetes(target: str, scheme: str, address: str) -> KubernetesAddress:
    path = address.partition(":")[2]
    *above, key = path.split("/") if "/" in path else (path, "")
    namespace, name = ("", *above) if len(above) == 1 else above if len(above) == 2 else ("", "")
    if not _OBJECT_NAME.fullmatch(name) or (namespace and not _NAMESPACE.fullmatch(namespace)):
        raise ValueError(
            f"{address} is not of the form {scheme}:NAME/, {scheme}:NAME/KEY or {scheme}:NAMESPACE/NAME/KEY"
        )
    if key and not _DATA_KEY.fullmatch(key):
        raise ValueError(f"{key!r} in {address} can't be a key: letters, digits, -, _ and .")
    at = _file(target, key, address) if key else _directory(target, address)
    return KubernetesAddress(at, "configmap" if scheme == "configmap" else "secret", name, namespace, key)


def _url(text: str) -> SplitResult:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{_shown(text)} holds characters that must be percent-encoded")
    try:
        parts = urlsplit(text)
        known = bool(Origin.of(text).host)
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{_shown(text)} names no server that can be, as in https://HOST:PORT/PATH")
    if "@" in parts.netloc:
        raise ValueError("a URL with user or password is shown wherever the setting is: use the variables for those")
    return parts._replace(scheme=parts.scheme.lower(), path=parts.path or "/")


def _file(target: str, path: str, address: str) -> str:
    if target.endswith("/"):
        raise ValueError(f"{target} is a directory, and {_shown(address)} gives one file: name it")
    name = target or path.rpartition("/")[2]
    if not name:
        raise ValueError(f"{_shown(address)} names no file: write FILE={_shown(address)}")
    return file_name(name)


def _directory(target: str, address: str) -> str:
    if target and not target.endswith("/"):
        raise ValueError(f"{_shown(address)} may give several files: write {target}/= for a directory, or name one key")
    if target:
        file_name(target[:-1])
    return target


def _refuse_clashes(sources: Iterable[Address]) -> None:
    files: dict[str, Address] = {}
    for source in sources:
        if not source.target or source.target.endswith("/"):
            continue
        if source.target in files:
            raise ValueError(f"{source.target!r} is the target of two sources")
        files[source.target] = source
    if clash := file_and_directory({**files, **{f"{s.target}*": s for s in sources if s.target.endswith("/")}}):
        raise ValueError(f"{clash!r} is the target of one source and a directory of another")


def _shown(text: str) -> str:
    """Without what stands in front of an @, and without a query."""
    return re.sub(r"(//|^)[^/?#]*@", r"\1***@", text).partition("?")[0]


_NOTICES: Mapping[str, Notice] = {"": "poll", "wait": "wait", "events": "events"}
_SCHEMES: Mapping[str, Callable[[str, str, str], Address]] = {
    "https": _http,
    "http": _http,
    "etcd+https": _etcd,
    "etcd+http": _etcd,
    "configmap": _kubernetes,
    "secret": _kubernetes,
}

SOURCES: Kind[tuple[Address, ...]] = Kind(
    name="sources",
    allowed="FILE=ADDRESS separated by commas; an ADDRESS is http://, https://, etcd+http://, etcd+https://, "
    "configmap:[NAMESPACE/]NAME/[KEY] or secret:[NAMESPACE/]NAME/[KEY]",
    parse=parse_sources,
    spell=spell_sources,
)
