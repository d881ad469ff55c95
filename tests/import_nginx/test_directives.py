"""The table of directives: it is whole, true to the settings, and in the documents."""

import pytest

from tests.import_nginx import corpus
from tlsproxy.chassis.environment import variables
from tlsproxy.import_nginx import directives
from tlsproxy.import_nginx.findings import PREFIX, Carried, Lost, Needless, Structure
from tlsproxy.settings import Settings

KNOWN = {variable.name.removeprefix(PREFIX) for variable in variables(Settings)}


@pytest.mark.parametrize(("name", "rule"), directives.DIRECTIVES.items())
def test_variables_exist(name: str, rule: Carried | Structure | Needless | Lost) -> None:
    """Each rule names variables that there are, and each that carries nothing says why."""
    if isinstance(rule, Carried | Structure):
        assert set(rule.variables) <= KNOWN
    elif isinstance(rule, Needless):
        assert rule.note
    else:
        assert rule.remark.why


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("gzip", "gzip*"),
        ("gzip_types", "gzip*"),
        ("keepalive_timeout", "keepalive_timeout"),
        ("keepalive_requests", "keepalive_*"),
        ("proxy_buffer_size", "proxy_buffer*"),
        ("proxy_ssl_verify", "proxy_ssl*"),
        ("rewrite_by_lua_block", "*_by_lua*"),
        ("worker_processes", "worker_processes"),
        ("worker_cpu_affinity", "worker_*"),
    ],
)
def test_families(name: str, pattern: str) -> None:
    """A star stands for a family, and a name of its own goes before it."""
    assert directives.rule_for(name) is directives.DIRECTIVES[pattern]


def test_what_is_not_known() -> None:
    """There is no rule for what nobody has thought of."""
    assert directives.rule_for("weird_module") is None


def test_the_page_has_the_table() -> None:
    """The page on moving from nginx shows the rules as they are (`python -m tests.import_nginx.corpus`)."""
    assert corpus.documented()[1] == directives.table()
