"""configsync's variables: every one declared once, with what it may hold."""

import re
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ValidationInfo, field_validator

from tlsproxy.chassis.environment import About, Alias, Conflict, Environment, Secret
from tlsproxy.chassis.everywhere import EverySidecar
from tlsproxy.chassis.kinds import (
    Duration,
    FilePath,
    Kind,
    PortOrZero,
    Size,
    Switch,
    Text,
    spell_duration,
)
from tlsproxy.chassis.secrets import SecretText
from tlsproxy.companions.configsync.formats import parse_formats, parse_schemas
from tlsproxy.companions.configsync.sources.addresses import SOURCES, Address, Origin
from tlsproxy.companions.rollout.variables import RolloutVariables


def _spell_pairs(pairs: tuple[tuple[str, str], ...]) -> str:
    if len(pairs) == 1 and pairs[0][0] == "*":
        return pairs[0][1]
    return ",".join(f"{pattern}={value}" for pattern, value in pairs)


_SHORTEST_TOKEN = 8

FORMATS: Kind[tuple[tuple[str, str], ...]] = Kind(
    "formats",
    "one of auto, json, yaml, toml, ini, xml, none, or PATTERN=FORMAT separated by commas",
    parse_formats,
    _spell_pairs,
)
SCHEMAS: Kind[tuple[tuple[str, str], ...]] = Kind(
    "schemas", "an absolute path, or PATTERN=PATH separated by commas", parse_schemas, _spell_pairs
)


def period_of(frequency: str) -> str:
    """The period for a number of updates each minute, which is what the variable held when it had its old name."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", frequency) or not float(frequency):
        raise ValueError("it is how many updates there are each minute, a number above 0")
    return spell_duration(round(60 / float(frequency), 3))


class SourceVariables(Environment):
    """Where configuration comes from."""

    sources: Annotated[
        tuple[Address, ...],
        SOURCES,
        About(
            "where each file comes from: `FILE=ADDRESS`, several separated by commas, which make one version together. "
            "An address: `https://...` (`#wait`: the server holds a request until there is something new, `#events`: "
            "it sends server-sent events), `etcd+http://HOST:2379/KEY`, `configmap:[NAMESPACE/]NAME/[KEY]`, "
            "`secret:...`; with a `/` at its end all keys, each a file",
            "app.json=https://config.example/shop.json",
        ),
    ] = ()
    dir: Annotated[FilePath, About("the directory, of a volume that the app mounts too", "/etc/shop")] = Path("/config")
    update_period: Annotated[
        Duration,
        About(
            "how often a source is asked that does not tell of changes itself",
            "5m",
            (Alias("UPDATE_FREQUENCY", period_of),),
        ),
    ] = 60.0
    one_time: Annotated[
        Switch,
        About("end with 0 as soon as one version is there: for an init container; the app is not told", "on"),
    ] = False
    token: Annotated[
        Secret | None,
        About("bearer token, sent to the origin of the first source alone, and to no other", "s3cret"),
    ] = None
    token_file: Annotated[
        FilePath | None, About("a file with it, read again on each use; counts before TOKEN", "/run/secrets/token")
    ] = None
    username: Annotated[Text, About("for basic authentication, or etcd's; sent as TOKEN is", "shop")] = ""
    password: Annotated[Secret | None, About("of that user", "s3cret")] = None
    password_file: Annotated[
        FilePath | None, About("a file with it, read again on each use; before PASSWORD", "/run/secrets/password")
    ] = None
    client_cert: Annotated[
        FilePath | None, About("client certificate in PEM, with its chain; sent as TOKEN is", "/certs/tls.crt")
    ] = None
    client_key: Annotated[FilePath | None, About("its key; empty: it is in CLIENT_CERT's file", "/certs/tls.key")] = (
        None
    )
    ca_file: Annotated[
        FilePath | None, About("CAs in PEM that sources are verified with; empty: the system's", "/certs/ca.crt")
    ] = None
    kubernetes_api: Annotated[
        Text, About("where ConfigMaps and Secrets are read: the API server's origin", "https://10.0.0.1:6443")
    ] = "https://kubernetes.default.svc"
    kubernetes_account: Annotated[
        FilePath, About("the directory with the service account's token, ca.crt and namespace", "/var/run/account")
    ] = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    timeout: Annotated[Duration, About("how long a source may take to give all of it", "2m")] = 60.0
    max_size: Annotated[Size, About("bytes that a source may give; more is refused", "16m")] = 4 * 1024 * 1024
    retry_max: Annotated[
        Duration, About("the longest pause between attempts while a source fails; the first is at most 1s", "5m")
    ] = 60.0
    stale_after: Annotated[
        Duration,
        About(
            "/readyz says no when a source has not answered for this long after it was due, or when a change has stood "
            "still so long",
            "1h",
        ),
    ] = 600.0
    format: Annotated[
        tuple[tuple[str, str], ...],
        FORMATS,
        About(
            "what a file has to parse as before it is published: `auto` (by its suffix), `json`, `yaml`, `toml`, "
            "`ini`, `xml`, `none`; or by pattern",
            "*.conf=ini,settings=yaml",
        ),
    ] = (("*", "auto"),)
    json_schema: Annotated[
        tuple[tuple[str, str], ...],
        SCHEMAS,
        About("JSON Schema that files are held to, whatever their format; a path, or by pattern", "/schemas/app.json"),
    ] = ()
    allow_empty: Annotated[Switch, About("a file with a format may be empty", "on")] = False


class Settings(EverySidecar, RolloutVariables, SourceVariables):
    """All, in the order of their table."""

    PREFIX: ClassVar[str] = "CONFIGSYNC_"

    admin_port: Annotated[PortOrZero, About("plain-HTTP health and metrics; 0 turns it off", "9090")] = 8453
    control_host: Annotated[Text, About("address of the control port; empty: all", "0.0.0.0")] = "127.0.0.1"  # noqa: S104 -- an example
    control_port: Annotated[
        PortOrZero,
        About("where history, rollback and pin are asked for, over plain HTTP with a token; 0 turns it off", "9091"),
    ] = 8452
    control_token: Annotated[
        Secret | None,
        About(
            "the token for it, of 8 characters or more; empty: one is made at each start, for the commands in this "
            "container",
            "c0rrect-horse",
        ),
    ] = None
    control_token_file: Annotated[
        FilePath | None, About("a file with it, read again on each use; before CONTROL_TOKEN", "/run/secrets/control")
    ] = None

    @field_validator("sources")
    @classmethod
    def _has_a_source(cls, sources: tuple[Address, ...]) -> tuple[Address, ...]:
        if not sources:
            raise ValueError("there is no source")
        return sources

    @field_validator("dir")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("not an absolute path")
        return path

    @field_validator("password_file")
    @classmethod
    def _has_a_user(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        """A password without a user, and a user without one, are half of something."""
        has_password = bool(file or info.data.get("password"))
        if has_password != bool(info.data.get("username")) and "username" in info.data:
            missing = "PASSWORD or PASSWORD_FILE" if not has_password else "USERNAME"
            raise Conflict(f"user and password come together; set {cls.PREFIX}{missing}")
        return file

    @field_validator("kubernetes_api")
    @classmethod
    def _is_an_origin(cls, url: str) -> str:
        try:
            if re.fullmatch(r"https?://[^/?#@]+", url) and Origin.of(url).host:
                return url
        except ValueError:
            pass
        raise ValueError("not of the form https://HOST:PORT")

    @field_validator("client_key")
    @classmethod
    def _is_of_a_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key and info.data.get("client_cert") is None:
            raise Conflict(f"it is of no certificate; set {cls.PREFIX}CLIENT_CERT")
        return key

    @field_validator("control_port")
    @classmethod
    def _has_its_port_alone(cls, port: int, info: ValidationInfo) -> int:
        if port and port == info.data.get("admin_port"):
            raise Conflict(f"{cls.PREFIX}ADMIN_PORT is the same port; give one of the two another")
        return port

    @field_validator("control_token")
    @classmethod
    def _is_long_enough(cls, token: SecretText | None) -> SecretText | None:
        if token is not None and len(token.reveal()) < _SHORTEST_TOKEN:
            raise Conflict(f"it is shorter than {_SHORTEST_TOKEN} characters; `openssl rand -hex 16` makes one")
        return token
