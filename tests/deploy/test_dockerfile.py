"""Dockerfile: each target's variables, ports and labels are those of its settings, and nothing in it needs a shell."""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import pytest

from bench.fronts import MALLOC
from tlsproxy import __version__
from tlsproxy.chassis import health
from tlsproxy.chassis.environment import About, Alias, Environment, read, variables
from tlsproxy.chassis.kinds import DurationOrZero
from tlsproxy.companions.configsync.settings import Settings as ConfigsyncSettings
from tlsproxy.companions.configsync.words import WORDS as CONFIGSYNC
from tlsproxy.companions.topz.settings import Settings as TopzSettings
from tlsproxy.companions.topz.verbs import WORDS as TOPZ
from tlsproxy.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True)
class Target:
    """What an image is to be."""

    settings: type[Environment]
    description: str
    main: tuple[str, ...]
    """The variables that matter."""
    ports: tuple[str, ...]

    @property
    def defaults(self) -> Mapping[str, str]:
        """As the image has them."""
        return {variable.name: variable.kind.spell(variable.default) for variable in variables(self.settings)}


TARGETS: Mapping[str, Target] = {
    "tlsproxy": Target(
        Settings,
        PROJECT["description"],
        ("TLSPROXY_CERT_NAME", "TLSPROXY_APP_PORT"),
        ("TLSPROXY_LISTEN_PORT", "TLSPROXY_ADMIN_PORT"),
    ),
    "topz": Target(TopzSettings, TOPZ.does, ("TOPZ_TOKEN_FILE", "TOPZ_PORT"), ("TOPZ_PORT", "TOPZ_ADMIN_PORT")),
    "configsync": Target(
        ConfigsyncSettings,
        CONFIGSYNC.does,
        ("CONFIGSYNC_SOURCES", "CONFIGSYNC_TELL"),
        ("CONFIGSYNC_CONTROL_PORT", "CONFIGSYNC_ADMIN_PORT"),
    ),
}
NEEDED = {"CONFIGSYNC_SOURCES": "app.json=http://127.0.0.1/"}
"""What has no default, and without which nothing is read."""
each = pytest.mark.parametrize("name", TARGETS)


class Renamed(Settings):
    """As if a variable had had another name once."""

    drain_delay: Annotated[DurationOrZero, About("", "10s", aliases=(Alias("LAME_DUCK"),))] = 5.0


@cache
def stages() -> dict[str, list[tuple[str, str]]]:
    """By name each stage's instructions, with what follows them; first those of the stage that it is made from."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in re.sub(r"(?m)^\s*#.*\n", "", TEXT).replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            own = found.setdefault(name, [*found.get(base, [(instruction, base)])])
        elif found and instruction:
            own.append((instruction, rest.strip()))
    return found


def assigned(target: str, instruction: str) -> dict[str, str]:
    """All that the target's instructions of a name assign."""
    words = [word for name, rest in stages()[target] if name == instruction for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def only(target: str, instruction: str) -> str:
    """What follows the one instruction of that name."""
    (found,) = (rest for name, rest in stages()[target] if name == instruction)
    return found


def test_the_default_is_the_proxy() -> None:
    """Who names no target gets the last one, and every program of the project has a target."""
    assert list(stages())[-1] == "tlsproxy"
    assert PROJECT["scripts"].keys() == TARGETS.keys() <= stages().keys()


@each
def test_every_default_is_in_sight(name: str) -> None:
    """`inspect` shows each variable with its default, in the order of their table, and those of no other program."""
    declared = {variable: default for variable, default in TARGETS[name].defaults.items() if default}
    prefixes = tuple(target.settings.PREFIX for target in TARGETS.values())
    found = {variable: value for variable, value in assigned(name, "ENV").items() if variable.startswith(prefixes)}
    wanted = " \\\n    ".join(f"{variable}={value}" for variable, value in declared.items())
    assert list(found.items()) == list(declared.items()), f"should be\nENV {wanted}"


@each
def test_variables_without_a_default_are_told_of(name: str) -> None:
    """A comment names each: set to nothing they would look as if they were set."""
    comments = " ".join(re.findall(r"(?m)^# (.*)$", TEXT.partition(f" AS {name}\n")[2].partition("\nFROM ")[0]))
    _, found, rest = comments.partition("Empty by default")
    assert found
    prefix = TARGETS[name].settings.PREFIX
    empty = [variable for variable, default in TARGETS[name].defaults.items() if not default]
    assert re.findall(rf"{prefix}\w+", rest) == empty


@each
def test_what_the_image_sets_is_not_set_by_the_operator(name: str) -> None:
    """With the image's variables everything has its default, without a warning."""
    settings = TARGETS[name].settings
    needed = {variable: value for variable, value in NEEDED.items() if variable.startswith(settings.PREFIX)}
    reading = read(settings, assigned(name, "ENV") | needed)
    assert reading.settings == read(settings, needed).settings
    assert reading.warnings == ()


def test_an_old_name_counts_before_what_the_image_sets() -> None:
    """Who has set it by its old name has set it."""
    environment = assigned("tlsproxy", "ENV")
    assert read(Renamed, environment | {"TLSPROXY_LAME_DUCK": "9s"}).settings.drain_delay == 9
    environment = assigned("configsync", "ENV") | NEEDED
    assert read(ConfigsyncSettings, environment | {"CONFIGSYNC_UPDATE_FREQUENCY": "6"}).settings.update_period == 10


def test_memory_is_taken_and_given_back_as_in_the_bench() -> None:
    """glibc's thresholds are those that the published figures were measured with, and systemd's unit has them too."""
    thresholds = {name: value for name, value in assigned("tlsproxy", "ENV").items() if name.startswith("MALLOC_")}
    unit = (ROOT / "deploy" / "systemd" / "tlsproxy.service").read_text()
    assert thresholds == MALLOC
    assert f"\nEnvironment={' '.join(f'{name}={value}' for name, value in MALLOC.items())}\n" in unit


def test_what_comes_from_an_index_has_its_hash() -> None:
    """pip takes nothing from there that a lock does not name with its hash; the project itself comes from no index."""
    installs = {rest for stage in stages().values() for name, rest in stage if name == "RUN" and '"install"' in rest}
    assert len(installs) == 2 + len(TARGETS)
    assert all('"--require-hashes"' in rest or '"--no-index"' in rest for rest in installs)


@each
def test_labels_tell_those_that_matter(name: str) -> None:
    """Version and description are the project's and the program's, its main variables are explained as everywhere."""
    labels, target = assigned(name, "LABEL"), TARGETS[name]
    meanings = {variable.name: variable.about.meaning.replace("`", "") for variable in variables(target.settings)}
    told = {label.rpartition(".")[2]: text for label, text in labels.items() if label.startswith(f"{name}.variable.")}
    assert told == {variable: meanings[variable] for variable in target.main}
    assert labels[f"{name}.variables"] == f"{name} config --docs"
    assert labels["org.opencontainers.image.title"] == name
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.description"] == target.description
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]


@each
def test_ports_are_the_defaults(name: str) -> None:
    """What it is there for, and admin."""
    assert only(name, "EXPOSE").split() == [TARGETS[name].defaults[port] for port in TARGETS[name].ports]


def test_ports_stay_apart() -> None:
    """All may be in one pod, beside an app on 8080: no two listen on the same port by default."""
    ports = [port for name in TARGETS for port in only(name, "EXPOSE").split()]
    assert len({*ports, "8080"}) == len(ports) + 1


def test_nothing_needs_a_shell() -> None:
    """Whatever runs is a list of words, in the builder too; the image itself runs nothing while it is built."""
    running = [
        re.sub(r"^(--\S+ +)*(CMD )?", "", rest)
        for stage in stages().values()
        for name, rest in stage
        if name in {"RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"}
    ]
    assert len(running) > 3
    assert all(isinstance(json.loads(command), list) for command in running)
    for name in TARGETS:
        assert "RUN" not in {instruction for instruction, _ in stages()[name]}
        assert only(name, "FROM") == "scratch"


@each
def test_it_is_stopped_and_asked_as_the_sidecar_wants(name: str) -> None:
    """The signal is the one that drains, the user a number, and the check has time for its own deadline."""
    assert only(name, "STOPSIGNAL") == "SIGTERM"
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only(name, "USER"))
    timeout = re.search(r"--timeout=(\d+)s", only(name, "HEALTHCHECK"))
    assert timeout
    assert float(timeout[1]) > health.WITHIN
    assert only(name, "HEALTHCHECK").endswith(f'CMD ["{name}", "health"]')
    assert json.loads(only(name, "ENTRYPOINT")) == [name]
