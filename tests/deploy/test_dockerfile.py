"""Dockerfile: its variables, ports and labels are those of the settings, and nothing in it needs a shell."""

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Annotated

from bench.fronts import MALLOC
from tlsproxy import __version__
from tlsproxy.chassis import health
from tlsproxy.chassis.environment import About, Alias, read, variables
from tlsproxy.chassis.kinds import DurationOrZero
from tlsproxy.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
DEFAULTS = {variable.name: variable.kind.spell(variable.default) for variable in variables(Settings)}


class Renamed(Settings):
    """As if a variable had had another name once."""

    drain_delay: Annotated[DurationOrZero, About("", "10s", aliases=(Alias("LAME_DUCK"),))] = 5.0


@cache
def stages() -> list[list[tuple[str, str]]]:
    """Each stage's instructions, with what follows them."""
    found: list[list[tuple[str, str]]] = []
    for line in re.sub(r"(?m)^\s*#.*\n", "", TEXT).replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        if found and name:
            found[-1].append((name, rest.strip()))
    return found


def assigned(instruction: str) -> dict[str, str]:
    """All that the last stage's instructions of a name assign."""
    words = [word for name, rest in stages()[-1] if name == instruction for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def only(instruction: str) -> str:
    """What follows the one instruction of that name."""
    (found,) = (rest for name, rest in stages()[-1] if name == instruction)
    return found


def test_every_default_is_in_sight() -> None:
    """`inspect` shows each variable with its default, in the order of their table."""
    declared = {name: default for name, default in DEFAULTS.items() if default}
    found = {name: value for name, value in assigned("ENV").items() if name.startswith("TLSPROXY_")}
    wanted = " \\\n    ".join(f"{name}={value}" for name, value in declared.items())
    assert list(found.items()) == list(declared.items()), f"should be\nENV {wanted}"


def test_variables_without_a_default_are_told_of() -> None:
    """A comment names each: set to nothing they would look as if they were set."""
    comments = " ".join(re.findall(r"(?m)^# (.*)$", TEXT))
    _, found, rest = comments.partition("Empty by default")
    assert found
    assert re.findall(r"TLSPROXY_\w+", rest) == [name for name, default in DEFAULTS.items() if not default]


def test_what_the_image_sets_is_not_set_by_the_operator() -> None:
    """With the image's variables everything has its default, without a warning, and an old name's value counts."""
    environment = assigned("ENV")
    assert read(Settings, environment).settings == read(Settings, {}).settings
    assert read(Settings, environment).warnings == ()
    assert read(Renamed, environment | {"TLSPROXY_LAME_DUCK": "9s"}).settings.drain_delay == 9


def test_memory_is_taken_and_given_back_as_in_the_bench() -> None:
    """glibc's thresholds are those that the published figures were measured with, and systemd's unit has them too."""
    thresholds = {name: value for name, value in assigned("ENV").items() if name.startswith("MALLOC_")}
    unit = (ROOT / "deploy" / "systemd" / "tlsproxy.service").read_text()
    assert thresholds == MALLOC
    assert f"\nEnvironment={' '.join(f'{name}={value}' for name, value in MALLOC.items())}\n" in unit


def test_what_comes_from_an_index_has_its_hash() -> None:
    """pip takes nothing from there that a lock does not name with its hash; the project itself comes from no index."""
    installs = [rest for stage in stages() for name, rest in stage if name == "RUN" and '"install"' in rest]
    assert len(installs) == 3
    assert all('"--require-hashes"' in rest or '"--no-index"' in rest for rest in installs)


def test_labels_tell_the_two_that_matter() -> None:
    """Version and description are the project's, the two main variables are explained as everywhere."""
    labels = assigned("LABEL")
    meanings = {variable.name: variable.about.meaning.replace("`", "") for variable in variables(Settings)}
    told = {name.rpartition(".")[2]: text for name, text in labels.items() if name.startswith("tlsproxy.variable.")}
    assert told == {name: meanings[name] for name in ("TLSPROXY_CERT_NAME", "TLSPROXY_APP_PORT")}
    assert labels["org.opencontainers.image.version"] == __version__
    assert (
        f'\ndescription = "{labels["org.opencontainers.image.description"]}"\n' in (ROOT / "pyproject.toml").read_text()
    )


def test_ports_are_the_defaults() -> None:
    """HTTPS and admin."""
    assert only("EXPOSE").split() == [DEFAULTS["TLSPROXY_LISTEN_PORT"], DEFAULTS["TLSPROXY_ADMIN_PORT"]]


def test_nothing_needs_a_shell() -> None:
    """Whatever runs is a list of words, in the builder too; the image itself runs nothing while it is built."""
    running = [
        re.sub(r"^(--\S+ +)*(CMD )?", "", rest)
        for stage in stages()
        for name, rest in stage
        if name in {"RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"}
    ]
    assert len(running) > 3
    assert all(isinstance(json.loads(command), list) for command in running)
    assert "RUN" not in {name for name, _ in stages()[-1]}
    assert only("FROM") == "scratch"


def test_it_is_stopped_and_asked_as_the_sidecar_wants() -> None:
    """The signal is the one that drains, the user a number, and the check has time for its own deadline."""
    assert only("STOPSIGNAL") == "SIGTERM"
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only("USER"))
    timeout = re.search(r"--timeout=(\d+)s", only("HEALTHCHECK"))
    assert timeout
    assert float(timeout[1]) > health.WITHIN
    assert json.loads(only("ENTRYPOINT")) == ["tlsproxy"]
