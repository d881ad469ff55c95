"""How variables are read, on a class of this file's own: what a companion might have."""

import base64
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import ValidationInfo, field_validator

from tlsproxy.chassis.environment import (
    About,
    Alias,
    BadSettings,
    Conflict,
    Environment,
    Reading,
    Secret,
    read,
    shown,
    variables,
)
from tlsproxy.chassis.kinds import CHOICE, Duration, List, Port, PortOrZero, Size, Switch, Text


def minutes_between(updates_per_minute: str) -> str:
    """The period of so many updates a minute."""
    if not updates_per_minute.isdigit() or int(updates_per_minute) == 0:
        raise ValueError("not a number of updates per minute")
    return f"{60 / int(updates_per_minute):g}s"


class Topz(Environment):
    """A companion's variables."""

    PREFIX: ClassVar[str] = "TOPZ_"

    update_period: Annotated[
        Duration,
        About("how often", "30s", aliases=(Alias("UPDATE_FREQUENCY", minutes_between), Alias("PERIOD"))),
    ] = 10.0
    top_size: Annotated[Size, About("how much", "64k")] = 1024
    colours: Annotated[Switch, About("whether in colour", "on")] = False
    names: Annotated[List, About("which", "a,b")] = ()
    title: Annotated[Text, About("what to call it", "top")] = ""
    sort: Annotated[Literal["cpu", "memory"], CHOICE, About("by what", "memory")] = "cpu"
    listen_port: Annotated[Port, About("the port", "9000")] = 9001
    debug_port: Annotated[PortOrZero, About("another port", "9002")] = 0
    spare_port: Annotated[Port | None, About("a third port", "9003")] = None
    token: Annotated[Secret | None, About("who we are", "abc", aliases=(Alias("PASSWORD"),))] = None

    @field_validator("debug_port")
    @classmethod
    def _ports_differ(cls, port: int, info: ValidationInfo) -> int:
        if port == info.data.get("listen_port"):
            raise Conflict("TOPZ_LISTEN_PORT is the same port; give one of the two another")
        return port


def topz(**given: str) -> Reading[Topz]:
    """Read the companion's variables, named without their prefix."""
    return read(Topz, {f"TOPZ_{name}": value for name, value in given.items()})


def refused(environ: Mapping[str, str]) -> BadSettings:
    """What is said of an environment that can't be used."""
    with pytest.raises(BadSettings) as caught:
        read(Topz, environ)
    return caught.value


def test_defaults() -> None:
    """An empty environment gives every default, says so, and warns of nothing."""
    reading = read(Topz, {})
    assert reading.settings == Topz()
    assert set(reading.sources.values()) == {"default"}
    assert reading.sources.keys() == {variable.name for variable in variables(Topz)}
    assert reading.warnings == ()


def test_values() -> None:
    """Each kind of value is read as its type, and its source is the environment."""
    reading = topz(
        UPDATE_PERIOD="500ms",
        TOP_SIZE="1m",
        COLOURS="on",
        NAMES="a, b",
        TITLE="t",
        SORT="Memory",
        SPARE_PORT="80",
    )
    assert reading.settings == Topz(
        update_period=0.5,
        top_size=1024**2,
        colours=True,
        names=("a", "b"),
        title="t",
        sort="memory",
        spare_port=80,
    )
    assert reading.sources["TOPZ_UPDATE_PERIOD"] == "environment"
    assert reading.sources["TOPZ_LISTEN_PORT"] == "default"
    assert reading.warnings == ()


def test_a_default_comes_from_nowhere() -> None:
    """A variable that holds its default, however written, is the image's: it tells of no choice."""
    assert topz(UPDATE_PERIOD="10000ms").sources["TOPZ_UPDATE_PERIOD"] == "default"
    assert topz(UPDATE_PERIOD="11s").sources["TOPZ_UPDATE_PERIOD"] == "environment"


def test_empty_is_unset() -> None:
    """An empty or blank variable counts as unset, be it known or not; blanks around a value don't count."""
    reading = topz(UPDATE_PERIOD="", LISTEN_PORT=" ", TOP_SIZE=" 2k\n", UNHEARD_OF="")
    assert reading.settings == Topz(top_size=2048)
    assert reading.sources["TOPZ_UPDATE_PERIOD"] == "default"
    assert reading.warnings == ()


def test_settings_do_not_change() -> None:
    """Settings are frozen, and a field that does not exist is refused."""
    with pytest.raises(ValueError, match="frozen"):
        topz().settings.top_size = 1
    with pytest.raises(ValueError, match="unheard_of"):
        Topz.model_validate({"unheard_of": 1})


# Bad values.


def test_all_bad_values_at_once() -> None:
    """One message lists every bad variable, in order: its name, the value, what is allowed, an example."""
    error = refused(
        {"TOPZ_SORT": "disk", "TOPZ_LISTEN_PORT": "70000", "TOPZ_UPDATE_PERIOD": "0", "TOPZ_COLOURS": "blue"}
    )
    assert str(error).splitlines() == [
        "bad settings:",
        (
            "  TOPZ_UPDATE_PERIOD='0': must be a duration in ms, s, m, h or d (seconds without a unit), "
            "above 0, for example 30s"
        ),
        "  TOPZ_COLOURS='blue': must be on or off (or true, false, 1, 0), for example on",
        "  TOPZ_SORT='disk': must be cpu or memory, for example memory",
        "  TOPZ_LISTEN_PORT='70000': must be a port, at least 1, at most 65535, for example 9000",
    ]
    assert [problem.name for problem in error.problems] == [
        "TOPZ_UPDATE_PERIOD", "TOPZ_COLOURS", "TOPZ_SORT", "TOPZ_LISTEN_PORT",
    ]  # fmt: skip


def test_control_characters_are_escaped() -> None:
    """A bad value can't break the line that reports it."""
    assert "TOPZ_SORT='a\\nb\\x1b[1m': " in str(refused({"TOPZ_SORT": "a\nb\x1b[1m"}))


@pytest.mark.parametrize("value", ["a\nb", "\x1b[2J", "caf\udce9", "a\u202eb"])
def test_unprintable_values(value: str) -> None:
    """No value, not even free text, can spoil a log or fail to be written."""
    assert "it holds characters that can't be printed" in str(refused({"TOPZ_TITLE": value}))


def test_long_values_are_cut() -> None:
    """A message holds both ends of what is wrong and its length, and stays one that can be read, whatever was given."""
    long = "x" * 100_000
    (problem,) = refused({"TOPZ_LISTEN_PORT": long}).problems
    assert problem.value.startswith("'xxx")
    assert problem.value.endswith("xxx' (100002 characters)")
    (problem,) = refused({"TOPZ_UPDATE_FREQUENCY": long}).problems
    assert "; must be " in problem.way_out
    error = refused({f"TOPZ_{long}": "1", "TOPZ_SPARE_PORT": f"tcp://{long}", "TOPZ_LISTEN_PORT": "x"})
    assert len(error.warnings) == 2
    assert all(len(warning) < 700 for warning in error.warnings)


def test_optional_port_is_bounded() -> None:
    """The bounds of an optional variable hold, and are named."""
    assert "TOPZ_SPARE_PORT='0': must be a port, at least 1, at most 65535" in str(refused({"TOPZ_SPARE_PORT": "0"}))


def test_conflict() -> None:
    """A value that is bad only beside another is reported with the reason, and without an example."""
    error = refused({"TOPZ_DEBUG_PORT": "9001"})
    assert str(error.problems[0]) == (
        "TOPZ_DEBUG_PORT='9001': TOPZ_LISTEN_PORT is the same port; give one of the two another"
    )


def test_conflict_beside_bad_values() -> None:
    """A conflict is reported together with values that are bad by themselves."""
    error = refused({"TOPZ_DEBUG_PORT": "9001", "TOPZ_SORT": "disk"})
    assert [problem.name for problem in error.problems] == ["TOPZ_SORT", "TOPZ_DEBUG_PORT"]


def test_warnings_come_with_the_error() -> None:
    """A misspelled name may be the cause of a bad value, so its warning is not lost."""
    error = refused({"TOPZ_LISTEN_PROT": "9002", "TOPZ_DEBUG_PORT": "9001"})
    assert "TOPZ_LISTEN_PORT" in error.warnings[0]


# Secrets.


def test_secrets_are_masked() -> None:
    """A secret shows neither in its settings, told or not, nor in a message, nor as the new spelling of an old name."""
    reading = topz(PASSWORD="hush-hush")
    token = reading.settings.token
    assert token is not None
    assert token.reveal() == "hush-hush"
    assert "hush" not in repr(reading)
    assert shown(reading.settings)["TOPZ_TOKEN"] == "***"
    assert reading.warnings == ("TOPZ_PASSWORD is an old name: write TOPZ_TOKEN",)


def test_bad_secret_is_masked() -> None:
    """A secret that is refused is named and not shown, nor is a reason that could quote it."""

    class Strict(Topz):
        @field_validator("token")
        @classmethod
        def _long(cls, token: object) -> object:
            raise ValueError(f"{token} and hush-hush are too short")

    with pytest.raises(BadSettings) as caught:
        read(Strict, {"TOPZ_TOKEN": "hush-hush"})
    problem = caught.value.problems[0]
    assert str(problem) == "TOPZ_TOKEN=***: must be text, which is shown nowhere, for example abc"
    assert caught.value.__context__ is None


def test_pasted_key_is_masked() -> None:
    """A private key that was pasted into the wrong variable is not shown."""
    error = refused({"TOPZ_SORT": "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI"})
    assert "TOPZ_SORT=***: must be" in str(error)
    assert "MHc" not in str(error)


def test_pasted_key_may_be_a_secrets_data() -> None:
    """As `kubectl get secret -o yaml` shows it: base64 of the PEM; neither in place of a number nor as a text."""
    data = base64.b64encode(b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI").decode()
    error = refused({"TOPZ_SORT": data, "TOPZ_TITLE": data, "TOPZ_LISTEN_PORT": data})
    assert str(error).count("=***: ") == 3
    assert data[-12:] not in str(error)


def test_pasted_key_is_no_services_address() -> None:
    """Behind what Kubernetes writes in place of a port, a key is masked too."""
    reading = read(Topz, {"TOPZ_LISTEN_PORT": "tcp://-----BEGIN PRIVATE KEY----- MIGH"})
    assert "MIGH" not in str(reading.warnings)
    assert "TOPZ_LISTEN_PORT=***" in str(reading.warnings)


def test_pasted_key_is_taken_for_nothing_else() -> None:
    """Nor is one on a line of its own a path or a text: as such it would be shown wherever settings are."""
    error = refused({"TOPZ_TITLE": "-----BEGIN PRIVATE KEY----- MHcCAQEEI -----END PRIVATE KEY-----"})
    assert "TOPZ_TITLE=***: must be" in str(error)


def test_credentials_in_a_url_are_masked() -> None:
    """A value that is refused is quoted without user and password, in each URL that it holds."""
    error = refused({"TOPZ_SORT": "https://user:pw@host/x,http://pw@other?a=b@c"})
    assert "TOPZ_SORT='https://***@host/x,http://***@other?a=b@c': must be" in str(error)


# Unknown names.


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        (
            "TOPZ_UPDATE_PERIODS",
            "TOPZ_UPDATE_PERIODS is not a known variable and has no effect: did you mean TOPZ_UPDATE_PERIOD?",
        ),
        (
            "TOPZ_top_size",
            "TOPZ_top_size is not a known variable and has no effect: did you mean TOPZ_TOP_SIZE?",
        ),
        (
            "topz_colours",
            "topz_colours is not a known variable and has no effect: did you mean TOPZ_COLOURS?",
        ),
        ("TOPZ_ELEPHANT", "TOPZ_ELEPHANT is not a known variable and has no effect"),
    ],
)
def test_unknown_names(name: str, warning: str) -> None:
    """An unknown name with the prefix is a warning with the nearest known one, and never an error."""
    reading = read(Topz, {name: "1"})
    assert reading.warnings == (warning,)
    assert reading.settings == Topz()


def test_other_programs_variables() -> None:
    """Names without the prefix are nobody's business here."""
    assert read(Topz, {"PATH": "/bin", "TOP_SIZE": "x", "TOPZERO": "1"}).warnings == ()


# What Kubernetes puts there.


@pytest.mark.parametrize("service", ["TOPZ", "TOPZ_FOO", "TOPZ_FOO_BAR"])
def test_service_links(service: str) -> None:
    """What Kubernetes makes for a Service of our name, or of one that starts with it, is passed over."""
    links = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "8443",
        f"{service}_SERVICE_PORT_HTTPS_ADMIN": "8443",
        f"{service}_PORT": "tcp://10.0.0.1:8443",
        f"{service}_PORT_8443_TCP": "tcp://10.0.0.1:8443",
        f"{service}_PORT_8443_TCP_PROTO": "tcp",
        f"{service}_PORT_8443_TCP_PORT": "8443",
        f"{service}_PORT_8443_TCP_ADDR": "10.0.0.1",
        f"{service}_PORT_53_UDP": "udp://10.0.0.1:53",
        f"{service}_PORT_53_UDP_PROTO": "udp",
    }
    reading = read(Topz, links)
    assert reading.warnings == ()
    assert reading.settings == Topz()


@pytest.mark.parametrize("url", ["tcp://10.0.0.1:443", "udp://[fd00::1]:53"])
def test_service_link_in_place_of_a_port(url: str) -> None:
    """A Service whose link bears the name of a variable leaves it unset, and the warning says what to do."""
    reading = topz(LISTEN_PORT=url)
    assert reading.settings.listen_port == 9001
    assert reading.sources["TOPZ_LISTEN_PORT"] == "default"
    (warning,) = reading.warnings
    assert warning == (
        f"TOPZ_LISTEN_PORT={url} comes from a Kubernetes Service named topz-listen and counts as unset: "
        "set TOPZ_LISTEN_PORT to a port, or enableServiceLinks to false in the pod"
    )


def test_misspelled_port_is_no_service_link() -> None:
    """A name that ends in _PORT and holds a number is a slip of the operator's, and is told."""
    assert "did you mean TOPZ_LISTEN_PORT?" in topz(LISTN_PORT="9002").warnings[0]


# Old names.


def test_old_name_works() -> None:
    """An old name is converted and goes on working; the warning gives the new spelling."""
    reading = topz(UPDATE_FREQUENCY="2")
    assert reading.settings.update_period == 30
    assert reading.sources["TOPZ_UPDATE_PERIOD"] == "environment, as TOPZ_UPDATE_FREQUENCY"
    assert reading.warnings == ("TOPZ_UPDATE_FREQUENCY is an old name: write TOPZ_UPDATE_PERIOD=30s",)


@pytest.mark.parametrize("default", ["10s", "10", "10000ms"])
def test_old_name_wins_over_a_default(default: str) -> None:
    """A new name that holds its default, however written, may come from the image: the old name wins."""
    reading = topz(UPDATE_FREQUENCY="2", UPDATE_PERIOD=default)
    assert reading.settings.update_period == 30
    assert reading.sources["TOPZ_UPDATE_PERIOD"] == "environment, as TOPZ_UPDATE_FREQUENCY"


def test_new_name_wins_otherwise() -> None:
    """A new name that holds anything else wins, and the warning says that both are set."""
    reading = topz(UPDATE_FREQUENCY="2", UPDATE_PERIOD="20s")
    assert reading.settings.update_period == 20
    assert reading.sources["TOPZ_UPDATE_PERIOD"] == "environment"
    (warning,) = reading.warnings
    assert warning == (
        "TOPZ_UPDATE_PERIOD and TOPZ_UPDATE_FREQUENCY are both set: TOPZ_UPDATE_PERIOD counts, "
        "remove TOPZ_UPDATE_FREQUENCY"
    )


def test_bad_new_name_beside_an_old_one() -> None:
    """A new name whose value is no value is an error, whatever the old one says."""
    error = refused({"TOPZ_UPDATE_FREQUENCY": "2", "TOPZ_UPDATE_PERIOD": "soon"})
    assert [problem.name for problem in error.problems] == ["TOPZ_UPDATE_PERIOD"]


def test_two_old_names() -> None:
    """Of two old names the one that is declared first wins."""
    reading = topz(PERIOD="5s", UPDATE_FREQUENCY="2")
    assert reading.settings.update_period == 30
    assert "remove TOPZ_PERIOD" in reading.warnings[0]


@pytest.mark.parametrize(("value", "reason"), [("often", "not a number of updates per minute; "), ("0", "")])
def test_bad_value_under_an_old_name(value: str, reason: str) -> None:
    """A bad value is reported under the name and as the text that was given, with the new name."""
    error = refused({"TOPZ_UPDATE_FREQUENCY": value, "TOPZ_SORT": "disk"})
    assert str(error.problems[0]).startswith(f"TOPZ_UPDATE_FREQUENCY='{value}': {reason}")
    assert "TOPZ_UPDATE_FREQUENCY is an old name, write TOPZ_UPDATE_PERIOD; must be a duration" in str(error)
    assert len(error.problems) == 2
