"""Behind curl, wget and openssl: what a command prints, saves and ends with is the same directly and through."""

import hashlib
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.messages import Reader, Response, read_response
from tests.e2e.programs import program
from tests.e2e.raw_client import RawClient, get
from tests.e2e.real.comparison import Fields, Fronted, comparable

UPLOAD = b"0123456789abcdef" * 200_000
WITHIN = 20.0

CURL = "curl --silent --show-error --cacert {ca} --dump-header heads --write-out '%{{http_code}} %{{num_connects}}, '"
WGET = "wget --quiet --ca-certificate={ca}"


@dataclass(frozen=True)
class Case:
    """Commands that are run one after the other, in one directory."""

    app: str
    """The fixture of that name."""
    tool: str
    """The program with the options that it always gets."""
    lines: tuple[str, ...]
    """What each command gets besides; {url} is the app's, {files} the directory that it serves."""
    status: int = 0
    """What the last one ends with."""
    part: str = ""
    """A file that is there at the start, with the first bytes of large.bin."""

    def __str__(self) -> str:
        return " ".join([self.tool.split()[0], *self.lines])


@dataclass(frozen=True)
class Outcome:
    """What has to be equal of a command that has ended; the app's URL is left out."""

    status: int
    output: bytes
    heads: list[tuple[str, Fields]]
    """Status line and fields of each response that it kept in the file `heads`."""
    files: dict[str, str]
    """The digests of the files that are there."""


CASES = (
    Case("nginx", CURL, ("--http1.0 {url}/text.txt -o a",)),
    Case("nginx", CURL, ("--http1.1 {url}/text.txt -o a",)),
    Case("nginx", CURL, ("--http2 {url}/text.txt -o a",)),  # an offer that comes to nothing, as nginx has none either
    Case("nginx", CURL, ("--head {url}/large.bin -o /dev/null",)),
    Case("nginx", CURL, ("{url}/large.bin -o a {url}/absent -o b {url}/large.bin -o c",)),
    Case("nginx", CURL, ("-Z -D/dev/null -w '' '{url}/{{text.txt,large.bin,empty.txt,missing.html}}' -o '#1'",)),
    Case("nginx", CURL, ("--range 1000-1999 {url}/large.bin -o a",)),
    Case("nginx", CURL, ("--continue-at - {url}/large.bin -o a",), part="a"),
    Case("nginx", CURL, ("--compressed {url}/packed/text.txt -o a", "--compressed {url}/behind/text.txt -o b")),
    Case("nginx", CURL, ("--etag-save tag {url}/text.txt -o a", "--etag-compare tag {url}/text.txt -o b")),
    Case("nginx", CURL, ("--location {url}/moved -o a",)),
    Case("nginx", CURL, ("--fail {url}/absent -o a",), status=22),
    Case("nginx", CURL, ("-T upload {url}/upload/a", "-D/dev/null {url}/upload/a -o a", "-X DELETE {url}/upload/a")),
    Case("nginx", CURL, ("-T upload -H Expect: {url}/upload/b", "-X DELETE {url}/upload/b")),
    Case("nginx", CURL, ("-T- -H 'Expect: 100-continue' {url}/upload/c", "-X DELETE {url}/upload/c")),
    Case("nginx", CURL, ("-T {files}/large.bin -H 'Expect: 100-continue' {url}/upload/d -o a",)),  # 413
    Case("nginx", CURL, ("-T {files}/large.bin -H Expect: {url}/upload/d -o a",)),  # 413 while it sends
    Case("asgi", CURL, ("--data-binary @upload {url}/digest", "-d a=1 -d b=2 {url}/digest", "-T upload {url}/digest")),
    Case("httpbin", CURL, ("-D/dev/null --anyauth -u user:secret {url}/digest-auth/auth/user/secret -o a",)),
    Case("http_server", WGET, ("--recursive --no-host-directories {url}/",)),
    Case("http_server", WGET, ("--timestamping {url}/text.txt", "--timestamping {url}/text.txt")),
    Case("http_server", WGET, ("{url}/absent",), status=8),
    Case("nginx", WGET, ("--continue {url}/large.bin",), part="large.bin"),
    Case("nginx", WGET, ("--method=PUT --body-file=upload {url}/upload/e -O a", "--method=DELETE {url}/upload/e -O b")),
    Case("asgi", WGET, ("--post-file=upload {url}/digest -O a",)),
)


@pytest.fixture
def authority_file(asgi: Fronted, tmp_path: Path) -> Path:
    """The authority's certificate in a file."""
    path = tmp_path / "ca.pem"
    asgi.sidecar.authority.cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize("case", CASES, ids=str)
def test_command(case: Case, files: Path, authority_file: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Both runs end alike, print alike and leave the same files."""
    outcomes = []
    app: Fronted = request.getfixturevalue(case.app)
    for name, url in zip(("direct", "through"), app.urls, strict=True):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "upload").write_bytes(UPLOAD)
        if case.part:
            (directory / case.part).write_bytes((files / "large.bin").read_bytes()[:5_000_000])
        lines = [f"{case.tool} {line}".format(url=url, files=files, ca=authority_file) for line in case.lines]
        outcomes.append([run(line, directory, url) for line in lines])
    direct, through = outcomes
    assert through == direct
    assert through[-1].status == case.status


def run(line: str, directory: Path, url: str) -> Outcome:
    """The outcome of one command."""
    tool, *arguments = shlex.split(line)
    with (directory / "upload").open("rb") as upload:
        done = subprocess.run(
            [program(tool, tool), *arguments],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "HOME": str(directory)},
            stdin=upload,
            capture_output=True,
            timeout=WITHIN,
            check=False,
        )
    kept = directory / "heads"
    heads = kept.read_bytes().decode("latin-1").replace(url, "{url}") if kept.exists() else ""
    kept.unlink(missing_ok=True)
    saved = {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }
    return Outcome(done.returncode, done.stdout, [parsed(head) for head in heads.split("\r\n\r\n") if head], saved)


def parsed(head: str) -> tuple[str, Fields]:
    """Its status line and what is comparable of its fields."""
    start, *lines = head.split("\r\n")
    return start, comparable((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl(nginx: Fronted, authority_file: Path, version: str) -> None:
    """`openssl s_client` verifies the certificate, in both versions of TLS, and gets the app's answer."""
    request = get("/large.bin", "Connection: close")
    connect = ["-connect", f"localhost:{nginx.sidecar.port}", "-servername", "localhost", "-4"]
    verify = ["-CAfile", str(authority_file), "-verify_return_error", "-verify_hostname", "localhost", "-quiet"]
    done = subprocess.run(
        [program("openssl", "openssl"), "s_client", version, *connect, *verify],
        input=request,
        capture_output=True,
        timeout=WITHIN,
        check=False,
    )
    with RawClient(nginx.app_port) as client:
        direct = client.ask(request)
    assert done.stdout, done.stderr
    through = read(done.stdout)
    assert (through.start, through.body) == (direct.start, direct.body)


def read(data: bytes) -> Response:
    """The response that these bytes are."""
    pieces = iter([data])
    return read_response(Reader(lambda: next(pieces, b"")))
