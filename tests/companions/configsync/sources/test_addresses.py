"""How sources are written."""

import pickle

import pytest
from pydantic import TypeAdapter

from tlsproxy.companions.configsync.sources.addresses import (
    SOURCES,
    Address,
    EtcdAddress,
    HttpAddress,
    KubernetesAddress,
    Origin,
    parse_sources,
    spell_sources,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://h/app.json", HttpAddress("app.json", "https://h/app.json")),
        ("a.json=http://h:8/x?y=z", HttpAddress("a.json", "http://h:8/x?y=z")),
        ("https://h/a%20b", HttpAddress("a b", "https://h/a%20b")),
        ("https://h/x?a=b", HttpAddress("x", "https://h/x?a=b")),
        ("d/a = https://h", HttpAddress("d/a", "https://h/")),
        ("HTTPS://h/x#wait", HttpAddress("x", "https://h/x", "wait")),
        ("https://h/x#events", HttpAddress("x", "https://h/x", "events")),
        ("https://h/x#events=/s?t=1", HttpAddress("x", "https://h/x", "events", "/s?t=1")),
        ("https://[::1]:8443/x", HttpAddress("x", "https://[::1]:8443/x")),
        ("etcd+http://h:2379/app/conf", EtcdAddress("conf", "http://h:2379", "/app/conf")),
        ("c=etcd+https://h:2379/app/conf", EtcdAddress("c", "https://h:2379", "/app/conf")),
        ("etcd+http://h:2379/app/", EtcdAddress("", "http://h:2379", "/app/")),
        ("d/=etcd+http://h:2379/app/", EtcdAddress("d/", "http://h:2379", "/app/")),
        ("etcd+http://h:2379/?key=conf", EtcdAddress("conf", "http://h:2379", "conf")),
        ("configmap:app", KubernetesAddress("", "configmap", "app")),
        ("d/=configmap:app/", KubernetesAddress("d/", "configmap", "app")),
        ("configmap:app/app.conf", KubernetesAddress("app.conf", "configmap", "app", key="app.conf")),
        ("secret:ns/app/", KubernetesAddress("", "secret", "app", "ns")),
        ("pw=secret:ns/app/password", KubernetesAddress("pw", "secret", "app", "ns", "password")),
    ],
)
def test_reads_and_spells(text: str, address: Address) -> None:
    """Each form is read, and what is spelled is read as the same."""
    assert parse_sources(text) == (address,)
    assert parse_sources(spell_sources((address,))) == (address,)
    assert pickle.loads(pickle.dumps(address)) == address  # noqa: S301  as it comes from the settings' process


def test_several() -> None:
    """They are separated by commas and keep their order."""
    assert [source.target for source in parse_sources("https://h/b, https://h/a,d/=configmap:x")] == ["b", "a", "d/"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" , ", "there is no source"),
        ("ftp://h/x", "ftp://h/x begins with none of https, http, etcd"),
        ("=https://h/x", "no file in front of ="),
        ("https://h", "names no file: write FILE=https://h"),
        ("d/=https://h/x", "is a directory, and https://h/x gives one file"),
        ("../x=https://h/x", "no relative file name"),
        ("https:///x", "names no server"),
        ("https://h:99999/x", "names no server"),
        ("https://h/ä", "percent-encoded"),
        ("https://h/x#poll", "#poll is none of #wait"),
        ("https://h/x#wait=3", "is none of #wait"),
        ("https://h/x#events=//other/x", "a path of the same server"),
        ("https://h/x#events=https://other/x", "a path of the same server"),
        ("etcd+http://h:2379", "names no key"),
        ("etcd+http://h:2379/?prefix=x", "more than a key"),
        ("x=etcd+http://h:2379/app/", "write x/= for a directory"),
        ("x=configmap:app", "write x/= for a directory"),
        ("configmap:a/b/c/d", "not of the form configmap:NAME/"),
        ("configmap:App", "not of the form"),
        ("configmap:", "not of the form"),
        ("secret:app/..data", "can't be a key"),
        ("https://h/a,http://g/a", "'a' is the target of two sources"),
        ("a=https://h/x,a/b=https://h/y", "'a' is the target of one source and a directory of another"),
        ("a=https://h/x,a/=configmap:app", "'a' is the target of one source and a directory of another"),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    """What can't be meant is refused with the reason."""
    with pytest.raises(ValueError, match=reason):
        parse_sources(text)


@pytest.mark.parametrize(
    "text",
    ["https://u:pw@h/x", "u:pw@h/x", "x=ftp://u:pw@h/x", "https://u:pw@h:x/x?token=pw", "https://h:x/?t=pw"],
)
def test_messages_hold_no_credentials(text: str) -> None:
    """User and password have variables of their own, and no message repeats those that stand in a URL."""
    with pytest.raises(ValueError, match=r"\w") as refused:
        parse_sources(text)
    assert "pw" not in str(refused.value)


def test_origins() -> None:
    """RFC 6454: scheme, host and port, the default ports being ports."""
    assert Origin.of("https://H/x") == Origin.of("HTTPS://u:p@h:443") == Origin("https", "h", 443)
    assert Origin.of("http://h") != Origin.of("https://h")
    assert Origin.of("http://h:0") != Origin.of("http://h:80")


def test_settings_take_them_as_they_are() -> None:
    """What reads settings leaves the values as the kind has parsed them."""
    parsed = SOURCES.parse("https://h/a,configmap:x,etcd+http://h/k")
    assert TypeAdapter(tuple[Address, ...]).validate_python(parsed) == parsed
