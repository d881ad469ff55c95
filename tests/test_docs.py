"""The documents are true: what they show as run runs, what they list is what there is, what they point to exists."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiohttp import http_parser

from tests import console
from tlsproxy import contract
from tlsproxy.environment import variables
from tlsproxy.proxy import heads, refusals
from tlsproxy.settings import Settings
from tlsproxy.tls import clients, connection

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "certs" / "README.md"])
RUN = [page for page in PAGES if console.commands(page.read_text())]
# Spelled wrongly on purpose, made by Kubernetes, or of the tests.
NO_VARIABLES = frozenset({"TLSPROXY_APP_PROT", "TLSPROXY_SERVICE_HOST", "TLSPROXY_IMAGE", "TLSPROXY_TEST_COMMAND"})


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
    """A part of the contract's surface, as names."""
    part = contract.surface()[surface]
    assert isinstance(part, Iterable)
    return sorted(map(str, part))


LONG = {"troubleshooting.md": pytest.mark.soak}
"""Pages that start more processes than an everyday test may."""


@pytest.mark.timeout(90)
@pytest.mark.parametrize("page", [pytest.param(page, marks=LONG.get(page.name, ())) for page in RUN], ids=name)
def test_what_is_shown_is_what_happens(page: Path, tmp_path: Path) -> None:
    """Every block that a page marks as run prints what stands below its commands."""
    text = page.read_text()
    for program in ("bash", "curl", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    console.run(text, tmp_path)


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


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_make_exist(page: Path) -> None:
    """Each `make` command that a page names is a target."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_variables_that_are_named_exist(page: Path) -> None:
    """No page speaks of a variable that has no effect."""
    named = set(re.findall(r"TLSPROXY_[A-Z_]*[A-Z]", page.read_text()))
    assert named <= {variable.name for variable in variables(Settings)} | NO_VARIABLES | {"TLSPROXY_PORT"}


@pytest.mark.parametrize(
    ("page", "heading", "surface"),
    [
        ("operations.md", "## Metrics", "metrics"),
        ("operations.md", "## Exit status", "exit_statuses"),
        ("operations.md", "## Signals", "signals"),
        ("operations.md", "## The admin port", "endpoints"),
        ("operations.md", "### Request lines", "request_line"),
        ("operations.md", "### Reasons", "reasons"),
        ("troubleshooting.md", "## A request fails", "reasons"),
    ],
)
def test_tables_are_whole(page: str, heading: str, surface: str) -> None:
    """A table lists what the contract has, nothing less and nothing else."""
    assert sorted(set(first_column(page, heading))) == listed(surface)


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
