"""Every way to hold it wrong that we know of, and what is printed then; docs/errors.md is the table.

`python -m tests.mistakes` writes the page's tables anew; tests/test_mistakes.py walks them. Each is really made.
What is of the moment in a message (directories, ports, serials, dates) stands in the table as `...` or as a short name.
"""

import contextlib
import io
import logging
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme

from tests.e2e.bad_material import BAD, FLAWED, NOT_PEM, OUT_OF_DATES
from tests.e2e.certificates import issue, place
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.scripted_app import AppConnection, ScriptedApp
from tests.e2e.sidecar_process import Sidecar
from tlsproxy.chassis.environment import BadSettings, read
from tlsproxy.check import check
from tlsproxy.cli import main
from tlsproxy.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
OF_THE_MOMENT = (
    (r"\b[0-9A-F]{36,40}\b", "..."),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "..."),
    (r"(CN|O|OU)=[^()]*trustme[^()]*?(?=[):]|, (so|for|but)|$)", "..."),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "..."),
    (r"(?<=can't be resolved: ).*", "..."),
    (r"(?<=choose from )[^)]*", "..."),
)


@dataclass(frozen=True)
class Told:
    """What came of a mistake."""

    status: str
    """The exit status, or what goes on in spite of it."""
    message: str


@dataclass(frozen=True)
class Group:
    """Mistakes of one kind."""

    name: str
    """Of the page's part."""
    made: Callable[[], Iterator[tuple[str, Told]]]
    """Each mistake in the words of the table, and what came of it."""


def without_the_moment(text: str, **names: object) -> str:
    """The message as the table has it; each name in place of its value."""
    for name, value in names.items():
        text = text.replace(str(value), name)
    for pattern, short in OF_THE_MOMENT:
        text = re.sub(pattern, short, text)
    return text


# ---------------------------------------------------------------------------- variables

VARIABLES: Sequence[Mapping[str, str]] = (
    {"APP_PORT": "http"},
    {"APP_PORT": "0"},
    {"APP_PORT": "65536"},
    {"APP_PORT": "8080/tcp"},
    {"APP_PORT": "tcp://10.0.0.1:80"},
    {"LISTEN_PORT": "8444"},
    {"REDIRECT_PORT": "8443"},
    {"APP_HOST": "http://localhost"},
    {"APP_HOST": "localhost:3000"},
    {"APP_HOST": "10.0.0.256"},
    {"APP_HOST": "[::1"},
    {"LISTEN_HOST": "10.0.0.0/8"},
    {"CERT_NAME": "../shop"},
    {"CERT_NAME": ","},
    {"CERT_NAME": "shop,*"},
    {"CERT_NAME": "-----BEGIN PRIVATE KEY-----"},
    {"CERT_DIR": "/ce\nrts"},
    {"CERT_WAIT": "soon"},
    {"HEAD_TIMEOUT": "10x"},
    {"HEAD_TIMEOUT": "0"},
    {"HEAD_TIMEOUT": "-1s"},
    {"CERT_EXPIRY_WARNING": "2w"},
    {"CERT_EXPIRY_WARNING": "99999d"},
    {"CERT_NAME": "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg=="},
    {"CERT_ROTATION_GRACE": "never"},
    {"HSTS": "on"},
    {"MAX_BODY": "10MB"},
    {"MAX_HEAD": "0"},
    {"MAX_CONNECTIONS": "0"},
    {"WORKERS": "0"},
    {"WORKERS": "9999"},
    {"SELF_SIGNED": "yes"},
    {"MODE": "udp"},
    {"TLS_PROFILE": "old"},
    {"CLIENT_AUTH": "yes"},
    {"LOG_FORMAT": "xml"},
    {"LOG_LEVEL": "verbose"},
    {"ACCESS_LOG": "none"},
    {"ALPN": "h2"},
    {"ALPN": "é", "MODE": "tcp"},
    {"APP_CHECK": "http"},
    {"APP_CHECK": "/a b"},
    {"CLIENT_ALLOW": "reports", "CLIENT_AUTH": "required"},
    {"CLIENT_ALLOW": "dns=a*b", "CLIENT_AUTH": "required"},
    {"CLIENT_ALLOW": "cn=reports"},
    {"CLIENT_EXEMPT": "/static/*", "CLIENT_AUTH": "optional"},
    {"CLIENT_EXEMPT": "/healthz"},
    {"TRUSTED_PROXIES": "10.0.0.0/40"},
    {"TRUSTED_PROXIES": "ingress"},
    {"PROXY_PROTOCOL": "v2"},
    {"PROXY_PROTOCOL": "accept"},
    {"PROXY_PROTOCOL": "send"},
    {"CERT_NAM": "shop"},
    {"DEBUG": "1"},
)


def variables() -> Iterator[tuple[str, Told]]:
    """Values that a variable can't have, alone or beside another's, and names that are none."""
    for given in VARIABLES:
        what = " ".join(f"{name}={value!r}" for name, value in given.items())
        yield f"`{what}`", _read(given)


def _read(given: Mapping[str, str]) -> Told:
    try:
        warnings = read(Settings, {f"TLSPROXY_{name}": value for name, value in given.items()}).warnings
    except BadSettings as error:
        return Told("2", " ".join(map(str, error.problems)))
    return Told("goes on", " ".join(warnings))


# ---------------------------------------------------------------------------- files


def certificates() -> Iterator[tuple[str, Told]]:
    """Everything that can be wrong with a certificate and its key."""
    for what, fault in (BAD | OUT_OF_DATES | FLAWED).items():
        with tempfile.TemporaryDirectory() as parent:
            directory = Path(parent) / "certs"
            directory.mkdir()
            place(directory, issue(AUTHORITY))
            fault.make(directory)
            yield what.replace("-", " "), _checked("certificate", parent, CERT_DIR=directory)


def client_cas() -> Iterator[tuple[str, Told]]:
    """The bundle that clients are verified with."""
    pair = issue(AUTHORITY)
    contents: dict[str, Callable[[Path], object]] = {
        "missing": lambda _: None,
        "empty": lambda path: path.write_bytes(b""),
        "not PEM": lambda path: path.write_bytes(NOT_PEM),
        "a private key": lambda path: path.write_bytes(pair.key),
        "cut off": lambda path: path.write_bytes(AUTHORITY.cert_pem.bytes()[:200]),
        "a directory": Path.mkdir,
        "a certificate that is no CA's": lambda path: path.write_bytes(issue(AUTHORITY).chain),
    }
    for what, make in contents.items():
        with tempfile.TemporaryDirectory() as directory:
            bundle = Path(directory) / "ca.crt"
            place(Path(directory), pair)
            make(bundle)
            yield what, _checked("client CAs|certificate", directory, CERT_DIR=directory, CLIENT_AUTH="required")


def _checked(what: str, directory: str | Path, **given: object) -> Told:
    """What `tlsproxy check` says that is wrong, and the status."""
    values = {"LISTEN_PORT": free_port(), "ADMIN_PORT": 0, "APP_CHECK": "off", "LISTEN_HOST": "127.0.0.1", **given}
    settings = read(Settings, {f"TLSPROXY_{name}": str(value) for name, value in values.items()}).settings
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            status = check(settings)
        finally:
            logging.disable(logging.NOTSET)
    lines = out.getvalue().splitlines()
    # In the order of their weight; what a fault is beside is told too.
    marks = (r"\[-\] ", r" +app at ", r" +warning: ")
    (told, *_) = [line.strip() for mark in marks for line in lines if re.match(mark, line)]
    message = re.sub(rf"^(\[-\] )?(({what}( tls)?): )?", "", told)
    return Told(str(int(status)) if status else "goes on", without_the_moment(message, **{"": f"{directory}/"}))


# ---------------------------------------------------------------------------- ports and the app


def ports() -> Iterator[tuple[str, Told]]:
    """Ports that can't be had."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as other:
        place(Path(directory), issue(AUTHORITY))
        taken = other.getsockname()[1]
        wrong: dict[str, Mapping[str, object]] = {
            "taken by another process": {"LISTEN_PORT": taken},
            "the admin port taken": {"ADMIN_PORT": taken, "ADMIN_HOST": "127.0.0.1"},
            "the redirect port taken": {"REDIRECT_PORT": taken},
            "an address of another machine": {"LISTEN_HOST": "203.0.113.1", "LISTEN_PORT": taken},
            "a host that nobody knows": {"LISTEN_HOST": "absent.invalid", "LISTEN_PORT": taken},
            "a host that is no name": {"LISTEN_HOST": "a..b", "LISTEN_PORT": taken},
        }
        for what, given in wrong.items():
            told = _checked("TLSPROXY", directory, CERT_DIR=directory, **given)
            yield what, Told(told.status, told.message.replace(str(taken), "8443"))


def app() -> Iterator[tuple[str, Told]]:
    """An app that is not there, as `tlsproxy check` tells it."""
    absent = free_port()
    with tempfile.TemporaryDirectory() as directory, ScriptedApp() as listening:
        place(Path(directory), issue(AUTHORITY))
        listening.answer(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")
        (Path(directory) / "file").write_bytes(b"")
        wrong: dict[str, Mapping[str, object]] = {
            "nobody listens": {"APP_PORT": absent},
            "a host that nobody knows": {"APP_HOST": "absent.invalid", "APP_PORT": absent},
            "a socket that is not there": {"APP_SOCKET": f"{directory}/app.sock"},
            "a file that is no socket": {"APP_SOCKET": f"{directory}/file"},
            "its health check fails": {"APP_PORT": listening.port, "APP_CHECK": "/healthz"},
        }
        for what, given in wrong.items():
            told = _checked("app", directory, **{"CERT_DIR": directory, "APP_CHECK": "tcp", **given})
            yield what, Told(told.status, without_the_moment(told.message, **{"3000": absent, "3001": listening.port}))


def _tls_alert(connection: AppConnection) -> None:
    connection.receive()
    connection.send(b"\x15\x03\x03\x00\x02\x02\x46")


def _says(answer: bytes) -> Callable[[AppConnection], None]:
    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(answer)

    return script


ANSWERS: Mapping[str, Callable[[AppConnection], None]] = {
    "speaks TLS itself": _tls_alert,
    "speaks another protocol": _says(b"220 mail.example ESMTP\r\n"),
    "speaks HTTP/2 alone": _says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "answers with garbage": _says(b"\x00\xff" * 40),
    "closes without an answer": _says(b""),
    "closes in the middle of the head": _says(b"HTTP/1.1 200 OK\r\nContent-"),
    "two lengths that differ": _says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "a head that never ends": _says(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 600_000),
}


def answers() -> Iterator[tuple[str, Told]]:
    """An app that is there and answers what is no answer: what the client gets, and what is logged."""
    with tempfile.TemporaryDirectory() as directory, ScriptedApp() as listening:
        place(Path(directory), issue(AUTHORITY))
        for what, script in ANSWERS.items():
            # A process each: a storm of one reason is one line.
            output = Path(directory, what.replace("/", " "))
            output.mkdir()
            listening.clear()
            listening.script(script)
            given = {"CERT_DIR": directory, "APP_PORT": str(listening.port)}
            with Sidecar(output, AUTHORITY, given) as process:
                status = process.get().status
                message = wait_until(partial(_warning, process), what)
            yield what, Told(f"goes on; {status}", without_the_moment(message, **{"3000": listening.port}))


def _warning(process: Sidecar) -> str | None:
    """What it has said of the app."""
    lines = (line for line in process.told("") if line["logger"] == "tlsproxy.app")
    return next((str(line["message"]) for line in lines), None)


# ---------------------------------------------------------------------------- the command line and manifests

COMMANDS: Sequence[Sequence[str]] = (
    ("serve",),
    ("run", "--port", "1"),
    ("check", "--sni"),
    ("config", "--schema", "--docs"),
    ("demo", "--port", "x"),
    ("dev-cert",),
    ("dev-cert", "{file}/certs"),
    ("inject", "--kubernetes-version", "latest"),
    ("import-nginx",),
)


def commands() -> Iterator[tuple[str, Told]]:
    """Verbs and options that there are not, or that are not whole."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "file"
        file.write_bytes(b"")
        for arguments in COMMANDS:
            told = _run([argument.format(file=file) for argument in arguments])
            shown = " ".join(arguments).format(file="file")
            yield f"`tlsproxy {shown}`", Told(told.status, without_the_moment(told.message, **{"": f"{directory}/"}))


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  template:
    spec:
      containers:
      - {name: app, image: app, ports: [{containerPort: 8080}]}
"""
MANIFESTS: Mapping[str, tuple[Sequence[str], bytes | None]] = {
    "a file that is not there": (("--secret", "shop"), None),
    "no Secret named": ((), DEPLOYMENT.encode()),
    "a Secret's name that is none": (("--secret", "Shop_1"), DEPLOYMENT.encode()),
    "a variable that is none": (("--secret", "shop", "--set", "HST=1d"), DEPLOYMENT.encode()),
    "a variable's value that is none": (("--secret", "shop", "--set", "HSTS=on"), DEPLOYMENT.encode()),
    "not UTF-8": (("--secret", "shop"), DEPLOYMENT.encode("utf-16")),
    "not YAML": (("--secret", "shop"), b"a: [b"),
    "a tab for a blank": (("--secret", "shop"), b"spec:\n\ta: 1\n"),
    "a key twice": (("--secret", "shop"), DEPLOYMENT.replace("kind: ", "kind: Pod\nkind: ").encode()),
    "an anchor that holds itself": (("--secret", "shop"), b"a: &a [*a]\n"),
    "nested without end": (("--secret", "shop"), b"[" * 5_000),
    "nothing that has a pod": (("--secret", "shop"), b"kind: ConfigMap\nmetadata: {name: a}\n"),
    "empty": (("--secret", "shop"), b""),
    "a control byte": (("--secret", "shop"), b"a: \x00\n"),
    "an app with no port": (("--secret", "shop"), DEPLOYMENT.replace(", ports: [{containerPort: 8080}]", "").encode()),
    "an object that is not there": (("--secret", "shop", "--only", "deployment/blog"), DEPLOYMENT.encode()),
    "a container that is not there": (("--secret", "shop", "--app-container", "web"), DEPLOYMENT.encode()),
    "a Service that is not there": (("--secret", "shop", "--service", "web"), DEPLOYMENT.encode()),
    "a port that is none": (("--secret", "shop", "--app-port", "99999"), DEPLOYMENT.encode()),
    "a port that is no number": (
        ("--secret", "shop", "--app-port", "9" * 5000),
        DEPLOYMENT.replace("8080", "x").encode(),
    ),
    "a port of many digits": (("--secret", "shop"), DEPLOYMENT.replace("8080", "9" * 5000).encode()),
    "containers that are no list": (("--secret", "shop"), b"kind: Pod\nmetadata: {name: a}\nspec: {containers: 7}\n"),
}


def manifests() -> Iterator[tuple[str, Told]]:
    """`tlsproxy inject`."""
    yield from _of_files("inject", MANIFESTS, "shop.yaml")


CONFIGURATIONS: Mapping[str, tuple[Sequence[str], bytes | None]] = {
    "a file that is not there": ((), None),
    "empty": ((), b""),
    "not text": ((), b"\xff\xfe\x00"),
    "a brace that is not closed": ((), b"server {\n listen 443 ssl;\n"),
    "no TLS server": ((), b"server { listen 80; }"),
    "a server that is not there": (("--server", "shop"), b"server { listen 443 ssl; server_name blog; }"),
}


def configurations() -> Iterator[tuple[str, Told]]:
    """`tlsproxy import-nginx`."""
    yield from _of_files("import-nginx", CONFIGURATIONS, "nginx.conf")


def _of_files(
    verb: str, table: Mapping[str, tuple[Sequence[str], bytes | None]], name: str
) -> Iterator[tuple[str, Told]]:
    for what, (options, content) in table.items():
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / name
            if content is not None:
                file.write_bytes(content)
            told = _run([verb, str(file), *options])
            yield what, Told(told.status, without_the_moment(told.message, **{"": f"{directory}/"}))


def _run(arguments: Sequence[str]) -> Told:
    """What a command says on standard error, without the usage."""
    out = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(out):
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(str(ended.code))
    lines = [line for line in errors.getvalue().splitlines() if not line.startswith(("usage:", " "))]
    return Told(str(status) if status else "goes on", " ".join(lines))


# ---------------------------------------------------------------------------- the page

GROUPS = (
    Group("variables", variables),
    Group("certificates", certificates),
    Group("client-cas", client_cas),
    Group("ports", ports),
    Group("app", app),
    Group("answers", answers),
    Group("commands", commands),
    Group("manifests", manifests),
    Group("configurations", configurations),
)


def table(group: Group) -> str:
    """The part of the page."""
    rows = [f"| {what} | {told.status} | {_code(told.message)} |" for what, told in group.made()]
    return "\n".join(["| mistake | status | message |", "|---|---|---|", *rows])


def _code(text: str) -> str:
    marks = "``" if "`" in text else "`"
    return f"{marks}{text}{marks}".replace("|", "\\|")


def part(page: str, name: str) -> tuple[str, str, str]:
    """The page before a part, the part, and the page behind it."""
    before, opening, rest = page.partition(f"<!-- mistakes {name} -->\n")
    inside, closing, behind = rest.partition("\n<!-- /mistakes -->")
    assert opening, name
    assert closing, name
    return before + opening, inside, closing + behind


if __name__ == "__main__":
    text = PAGE.read_text()
    for one in GROUPS:
        start, _, end = part(text, one.name)
        text = start + table(one) + end
    PAGE.write_text(text)
