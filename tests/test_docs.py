"""The documents are true: what they show as run runs, what they list is what there is, what they point to exists."""

import ast
import errno
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from aiohttp import http_parser

from tests import console
from tests.e2e.programs import program
from tests.e2e.test_start_errors import START_ERRORS
from tests.test_contract import SURFACES
from tlsproxy import contract
from tlsproxy.chassis import documents, listening, settings_process
from tlsproxy.chassis.environment import variables
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.verbs import entries
from tlsproxy.proxy import heads, refusals
from tlsproxy.settings import Settings
from tlsproxy.tls import checks, clients, connection

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "certs" / "README.md"])
RUN = [page for page in PAGES if console.commands(page.read_text())]
# Spelled wrongly on purpose, made by Kubernetes, handed to commands, or of the tests.
NO_VARIABLES = frozenset(
    {
        *("TLSPROXY_APP_PROT", "TLSPROXY_CERT_NAM", "TLSPROXY_DEBUG"),
        *("TLSPROXY_SERVICE_HOST", "TLSPROXY_IMAGE", "TLSPROXY_TEST_COMMAND", "CONFIGSYNC_VERSION"),
    }
)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head; each cell stripped."""
    _, found, rest = (DOCS / page).read_text().partition(f"\n{heading}\n")
    assert found, f"{page} has no {heading!r}"
    lines = [line for line in re.split(r"\n#+ ", rest)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def first_column(page: str, heading: str) -> list[str]:
    """The first cells of a table, without their code marks and labels."""
    return [row[0].strip("`").partition("{")[0] for row in table(page, heading)]


def listed(surface: str) -> list[str]:
    """A part of the contract's surface, or the values of a label, as names."""
    known = documents.promises(contract.SURFACE)
    values = known["label_values"]
    assert isinstance(values, dict)
    part = values[surface] if surface in values else known[surface]
    assert isinstance(part, Iterable)
    return sorted(map(str, part))


LONG = dict.fromkeys(
    ("troubleshooting.md", "rotate-a-certificate.md", "mutual-tls.md", "websocket.md", "grpc.md"), pytest.mark.soak
)
"""Pages that start more processes than an everyday test may."""


@pytest.mark.timeout(90)
@pytest.mark.parametrize("page", [pytest.param(page, marks=LONG.get(page.name, ())) for page in RUN], ids=name)
def test_what_is_shown_is_what_happens(page: Path, tmp_path: Path) -> None:
    """Every block that a page marks as run prints what stands below its commands."""
    text = page.read_text()
    for needed in ("bash", "curl", "openssl"):
        program(needed, needed)
    console.run(text, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(90)
def test_what_is_shown_with_haproxy_is_what_happens(tmp_path: Path) -> None:
    """The page on load balancers is run with a real one."""
    program("haproxy", "haproxy")
    page = (DOCS / "load-balancer.md").read_text()
    assert console.commands(page, "run with haproxy")
    console.run(page, tmp_path, "run with haproxy")


def test_pages_that_show_commands_are_run() -> None:
    """A block of commands with their output is marked, so that nothing is shown that nobody has run."""
    for page in PAGES:
        unmarked = re.findall(r"^(?!<!-- run).*\n+```console\n", page.read_text(), re.MULTILINE)
        assert not unmarked, f"{name(page)}: {unmarked}"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a ... b", "c"], "a 1 b\nc\n", True),
        (["a", "..."], "a\nb\nc\n", True),
        (["a", "..."], "a\n", True),
        (["...", "c"], "a\nb\nc\n", True),
        (["a"], "a\nb\n", False),
        (["a.c"], "abc", False),
        ([], "whatever", True),
    ],
)
def test_output_is_compared_as_a_whole(shown: list[str], printed: str, same: bool) -> None:
    """Dots stand for anything, and all else for itself."""
    assert console.Command("x", shown).prints(printed) is same


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists, and a heading of it where it names one."""
    for target in re.findall(r"\]\(([^)#][^)]*|#[^)]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{name(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    """A path of the project that stands in code marks is there."""
    folders = "tlsproxy|tests|bench|docs|certs|deploy"
    for path in re.findall(rf"`((?:{folders})/[a-zA-Z0-9_./-]*[a-zA-Z])`", page.read_text()):
        assert (ROOT / path).exists(), f"{name(page)} names {path}"


@pytest.mark.parametrize("drawing", ["request.svg", "certificate.svg"])
def test_modules_that_are_drawn_exist(drawing: str) -> None:
    """A box of the architecture's drawings is a module, and its page's words for who can't see it name the same."""
    drawn = set(re.findall(r">((?:tls|proxy)/[a-z_]+)<", (DOCS / "pictures" / drawing).read_text()))
    assert {module for module in drawn if not (ROOT / "tlsproxy" / f"{module}.py").exists()} == set()
    told = re.search(rf"!\[([^]]*)\]\(pictures/{drawing}\)", (DOCS / "architecture.md").read_text())
    assert told
    assert set(re.findall(r"(?:tls|proxy)/[a-z_]+", told[1])) == drawn


def test_the_chassis_is_listed() -> None:
    """The page on architecture lists what every sidecar is built on, as the layers have it."""
    listed = re.findall(r"`([a-z_]+)/?`", " ".join(row[1] for row in table("architecture.md", "## The chassis")))
    there = {path.stem for path in (ROOT / "tlsproxy" / "chassis").iterdir() if not path.name.startswith("__")}
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tests_that_are_named_exist(page: Path) -> None:
    """A test that a line names is in a file that it names, or the line before it: a claim without its test is none."""
    files: list[Path] = []
    for line in page.read_text().splitlines():
        files = [ROOT / path for path in re.findall(r"`(tests/[a-z0-9_/]+\.py)`", line)] or files
        there = "".join(file.read_text() for file in files)
        for test in re.findall(r"`(test_[a-z0-9_]+)`", line):
            assert f"def {test}(" in there, f"{name(page)} names {test}"


@pytest.mark.parametrize("heading", ["A client", "The app, or whoever has taken it over", "A neighbour on the network"])
def test_each_claim_of_security_names_a_test(heading: str) -> None:
    """Nothing is said to hold that nothing shows."""
    rows = table("security.md", f"### {heading}")
    assert rows
    assert [row[0] for row in rows if not re.search(r"`tests/|\]\(", row[-1])] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_make_exist(page: Path) -> None:
    """Each `make` command that a page names is a target."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_variables_that_are_named_exist(page: Path) -> None:
    """No page speaks of a variable that has no effect."""
    named = set(re.findall(r"(?:TLSPROXY|TOPZ|CONFIGSYNC)_[A-Z_]*[A-Z]", page.read_text()))
    declared = [variable for surface in SURFACES.values() for variable in variables(surface.settings)]
    known = {name for variable in declared for name in (variable.name, *variable.aliases)}
    assert named <= known | NO_VARIABLES | {"TLSPROXY_PORT"}


@pytest.mark.parametrize(
    ("page", "heading", "surface"),
    [
        ("operations.md", "## Metrics", "metrics"),
        ("operations.md", "## Exit status", "exit_statuses"),
        ("operations.md", "## Signals", "signals"),
        ("operations.md", "## The admin port", "endpoints"),
        ("operations.md", "### Request lines", "request_line"),
        ("operations.md", "### Reasons", "reasons"),
        ("operations.md", "### Everything else", "diagnostic"),
        ("troubleshooting.md", "## A request fails", "reasons"),
        ("troubleshooting.md", "### Handshakes fail", "tlsproxy_handshake_failures_total{reason}"),
        ("troubleshooting.md", "### Clients are turned away", "tlsproxy_clients_denied_total{reason}"),
    ],
)
def test_tables_are_whole(page: str, heading: str, surface: str) -> None:
    """A table lists what the contract has, nothing less and nothing else."""
    assert sorted(set(first_column(page, heading))) == listed(surface)


def errors(module: str, *names: str) -> list[str]:
    """The texts of all errors of these classes that a module raises, with `...` for names and values."""
    called = [
        node
        for node in ast.walk(ast.parse((ROOT / "tlsproxy" / module).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names and node.args
    ]
    return [text for call in called if re.search(r"\w", text := spelled(call.args[0]))]


def spelled(node: ast.expr) -> str:
    """A text as it stands in the code, with `...` for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(spelled, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else "..."


def messages(heading: str, page: str = "troubleshooting.md") -> list[str]:
    """Every message in the tables below a heading of a page, up to the next of its kind."""
    _, found, rest = (DOCS / page).read_text().partition(f"\n{heading}\n")
    assert found, f"there is no {heading!r}"
    rows = [line for line in re.split(r"\n##+ ", rest)[0].splitlines() if line.startswith("| `")]
    return [message for row in rows for message in re.findall(r"`(.+?)`(?=,| \|)", row.split(" | ")[0] + " |")]


def explains(message: str, text: str) -> bool:
    """Whether a message of the page is the error's, or its beginning; dots stand for anything."""
    return re.search(".*".join(map(re.escape, message.split("..."))), text) is not None


UNUSABLE: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = {
    "### Exit status 2: bad settings": [("settings.py", ("Conflict",))],
    "### Exit status 3: no usable certificate": [
        (f"tls/{path.name}", ("MaterialError", "AbsentError"))
        for path in (ROOT / "tlsproxy" / "tls").glob("*.py")
        if path.name != "development.py"
    ],
}


@pytest.mark.parametrize("heading", UNUSABLE)
def test_what_stops_the_start_is_explained(heading: str) -> None:
    """Every error that settings, certificates and client CAs can have has its row, and no row is of an error gone."""
    known = messages(heading)
    raised = [text for module, names in UNUSABLE[heading] for text in errors(module, *names)]
    if "certificate" in heading:
        raised += [f"... {text}" for text in (*checks._INSTEAD.values(), "holds no ...")]
        raised += [text for text in errors("tls/development.py", "MaterialError") if "SELF_SIGNED" in text]
    assert [text for text in raised if not any(explains(message, text) for message in known)] == []
    assert [message for message in known if not any(explains(message, text) for text in raised)] == []


def test_messages_of_configsync_exist() -> None:
    """What the page on configsync explains is said somewhere in its code, in these words."""
    folders = [ROOT / "tlsproxy" / "companions" / name for name in ("configsync", "rollout")]
    modules = [ast.parse(path.read_text()) for folder in folders for path in folder.rglob("*.py")]
    said = [
        spelled(node).replace("%s", "...")
        for module in modules
        for node in ast.walk(module)
        if isinstance(node, ast.expr)
    ]
    known = messages("## Something is wrong", "configsync.md")
    assert known
    stale = [message for message in known if not any(explains(message, text) for text in said)]
    assert not stale, "; ".join(stale)


def test_what_commands_refuse_is_explained() -> None:
    """What ends a command with status 1, though settings and certificate are good, has its row."""
    known = messages("### Exit status 1: anything else")
    raised = [text for text in errors("tls/development.py", "MaterialError") if "SELF_SIGNED" not in text]
    raised += [settings_process.DIED.message, *errors("proxy/feed.py", "RuntimeError")]
    assert [text for text in raised if not any(explains(message, text) for message in known)] == []


@pytest.mark.parametrize("status", Exit)
def test_each_exit_status_has_a_way_out(status: Exit) -> None:
    """The page has a section for each."""
    headings = re.findall(r"^### Exit status (\d):", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert str(status.value) in headings


@pytest.mark.parametrize("said", START_ERRORS)
def test_start_errors_are_explained(said: str) -> None:
    """What a start that fails says is in the section of its status, in a block that is run or in a table."""
    _, _, rest = (DOCS / "troubleshooting.md").read_text().partition(f"\n### Exit status {START_ERRORS[said][0]}:")
    assert said in re.split(r"\n### ", rest)[0]


def test_ports_that_cannot_be_had_are_explained() -> None:
    """Each reason for which a port can't be had is in the table."""
    numbers = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL)
    raised = [listening._plain(OSError(number, ""), "host") for number in numbers]
    raised.append(listening._plain(socket.gaierror(socket.EAI_NONAME, "unknown"), "host"))
    known = messages("### Exit status 4: a port that cannot be had")
    assert [text for text in raised if not any(explains(message, text) for message in known)] == []
    assert [message for message in known if not any(explains(message, text) for text in raised)] == []


def metrics(surface: documents.Surface) -> set[str]:
    """The names of all that a sidecar's admin port shows."""
    known = documents.promises(surface)
    return {str(name) for part in ("metrics", "process_metrics") for name in cast("Iterable[str]", known[part])}


def test_metrics_that_are_named_exist() -> None:
    """No page speaks of a metric that is never shown."""
    known = {name for surface in SURFACES.values() for name in metrics(surface)}
    for page in PAGES:
        named = re.findall(r"\b(?:tlsproxy|topz|configsync|process)_[a-z_]*[a-z]\b(?![.*_/])", page.read_text())
        unknown = {re.sub("_(bucket|sum|count)$", "", metric) for metric in named} - known
        assert unknown == set(), name(page)


def test_options_that_are_named_exist() -> None:
    """No page shows a verb or an option of a program that is not taken."""
    known: dict[str, set[str]] = {}
    for words in (line.split() for surface in SURFACES.values() for line in entries(surface.words)):
        known.setdefault(" ".join(words[:2]), {"--help"}).update(word for word in words if word.startswith("--"))
    for page in (page for page in PAGES if page.name != "errors.md"):  # which shows mistakes
        for verb, rest in re.findall(
            r"(?:^[$>] |`)((?:tlsproxy|topz|configsync) [a-z-]+)((?: [^`|;&\n]*)?)", page.read_text(), re.MULTILINE
        ):
            assert verb in known, f"{name(page)}: {verb}"
            options = set(re.findall(r"(?<= )--[a-z-]+", rest))
            assert options <= known[verb], f"{name(page)}: {verb} {options - known[verb]}"


def test_sizing_tells_what_the_manifests_ask_for() -> None:
    """The page on sizing shows the requests of the manifests, and of `tlsproxy inject`."""
    shown = "requests: {cpu: 20m, memory: 64Mi}"
    assert shown in (DOCS / "sizing.md").read_text()
    manifests = [path for path in (ROOT / "deploy" / "kubernetes").rglob("*.yaml") if "requests:" in path.read_text()]
    assert manifests
    assert all(shown in path.read_text() for path in manifests)
    assert '"requests": {"cpu": "20m", "memory": "64Mi"}' in (ROOT / "tlsproxy" / "inject" / "sidecar.py").read_text()


def test_handshake_failures_are_listed() -> None:
    """The page on TLS explains each reason for which a handshake can fail."""
    told_by_openssl = set(connection._FAILURES.values())
    assert set(first_column("tls.md", "## Why handshakes fail")) == told_by_openssl | {"other", "reset", "timeout"}


def test_refusals_of_clients_are_listed() -> None:
    """The page on client certificates names each reason for which one is refused in the handshake."""
    text = (DOCS / "client-certificates.md").read_text()
    assert {reason for reason in clients._VERDICTS.values() if f"`{reason}`" not in text} == set()


def test_reasons_have_their_statuses() -> None:
    """The table of reasons gives the statuses that clients see, and the variable that governs each."""
    rows = {row[0].strip("`"): row for row in table("operations.md", "### Reasons")}
    for refusal in contract._below(refusals.Refusal):
        if hasattr(refusal, "status"):
            row = " ".join(rows[refusal.reason])
            assert str(refusal.status) in row, refusal
            assert refusal.variable in row, refusal
            assert refusal.error in row, refusal


def test_fields_that_go_no_further_are_listed() -> None:
    """The page on HTTP names every field that is dropped or made anew, and each that may stand only once."""
    text = (DOCS / "http.md").read_text().lower()
    passed = {heads.PASS, heads.HOST, heads.LENGTH, heads.AGENT, heads.REFERER, heads.EXPECT}
    special = {name.decode() for name, kind in heads.REQUEST_FIELDS.items() if kind not in passed}
    assert {name for name in special if f"`{name}`" not in text} == set()
    assert {name for name in http_parser.SINGLETON_HEADERS if f"`{name}`" not in text} == set()


def test_image_has_the_contracts_defaults() -> None:
    """The Dockerfile sets the two main variables to their defaults, and exposes the default ports."""
    lines = (ROOT / "Dockerfile").read_text()
    defaults = {variable.name: variable.kind.spell(variable.default) for variable in variables(Settings)}
    assert f"ENV TLSPROXY_CERT_NAME={defaults['TLSPROXY_CERT_NAME']} \\\n" in lines
    assert f"TLSPROXY_APP_PORT={defaults['TLSPROXY_APP_PORT']} \\\n" in lines
    assert f"\nEXPOSE {defaults['TLSPROXY_LISTEN_PORT']} {defaults['TLSPROXY_ADMIN_PORT']}\n" in lines


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_lock_pins_everything(lock: str) -> None:
    """Each line of a lock names a version and hashes, and none names a place to get it from."""
    entries = re.sub(r"#.*", "", (ROOT / lock).read_text()).replace("\\\n", " ").strip().splitlines()
    for entry in filter(None, map(str.strip, entries)):
        words = shlex.split(entry)
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", words[0]), entry
        assert any(word.startswith("--hash=sha256:") for word in words), entry
        assert "://" not in entry


def test_development_pair(tmp_path: Path) -> None:
    """The script makes a pair where it is told to, and again in its place, with a key that the image can read."""
    if shutil.which("make") is None or not (ROOT / ".venv" / ".run").exists():
        pytest.skip("not the virtual environment that make has made")
    for _ in range(2):
        made = subprocess.run([ROOT / "certs" / "make-development-pair", tmp_path], capture_output=True, check=True)
        assert len(made.stdout.splitlines()) == 3
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o644
