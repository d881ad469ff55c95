"""How a class of settings is read from environment variables: the same for every sidecar of the family.

A sidecar declares its variables as fields of an `Environment` subclass with a prefix of its own, and `read`
makes an instance from a mapping. What an operator is told about bad, unknown and renamed variables is decided
here; what any variable means is not known here. pydantic-settings builds and checks the instance, from the one
source below: which variables count is ours to say, whatever else it could read is not looked at.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tlsproxy.chassis.kinds import Kind
from tlsproxy.chassis.secrets import MASK, SecretText

S = TypeVar("S", bound="Environment")

_PRIVATE_KEY = ("PRIVATE KEY", "LS0tLS1CRUdJ")
"""Of PEM's first and last line (RFC 7468), whatever the kind; and how PEM begins as the data of a Secret, in base64."""
_LONGEST_TOLD = 300
"""Characters of a value that are repeated: a file's content in place of its name would bury what is wrong with it."""
_USER_IN_URL = re.compile(r"//[^/?#@,\s]*@")

SECRET: Kind[SecretText | None] = Kind(
    "secret", "text, which is shown nowhere", SecretText, lambda secret: MASK if secret else ""
)
Secret = Annotated[SecretText, SECRET]
"""Shown as `***` wherever it is written, in its own repr too."""


# --- Declaring variables -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that a variable had once: it goes on working, with a warning that names the new spelling."""

    name: str
    """Without the prefix."""
    convert: Callable[[str], str] = str
    """From the old text to the new one; ValueError with a plain reason."""


@dataclass(frozen=True, slots=True)
class About:
    """What a field's annotation says of the variable besides its type."""

    meaning: str
    """One sentence, in the words of its user."""
    example: str
    """A value as one would write it."""
    aliases: tuple[Alias, ...] = ()


class Environment(BaseSettings):
    """Settings read from variables: each field is one, named by the prefix and the field's name in capitals.

    Every field has a default, and an annotation with a `Kind` and an `About`. A rule that concerns several
    fields is a field validator on the last of them that raises `Conflict`; it runs for defaults too.
    Only `read` takes values from an environment: an instance made by hand has the values that it is given.
    """

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)
    PREFIX: ClassVar[str]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  -- the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The one source that counts: `read`'s, or else the values that are given by name."""
        source = init_settings().get(_SOURCE)
        return (source if isinstance(source, _Source) else init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _parse_text(cls, value: object, info: ValidationInfo) -> object:
        """Text is read as its kind says, other values are checked as they are; "" is the default of some."""
        if isinstance(value, ValueError):
            raise value
        if not isinstance(value, str) or not value:
            return value
        kind = _kind(cls.model_fields[str(info.field_name)])
        if kind is not SECRET and not value.isprintable():
            raise ValueError("it holds characters that can't be printed")
        if kind is not SECRET and _holds_key(value):
            # In place of a name or a path it would stand in the log and in /status.
            raise ValueError("it holds a private key")
        return kind.parse(value)


class Conflict(ValueError):  # noqa: N818  -- the name of a finding, not of a failure
    """A value that is good alone but not beside another's: the message names the other and the way out."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as its class declares it."""

    name: str
    """With the prefix."""
    field: str
    kind: Kind[object]
    default: object
    about: About
    choices: tuple[str, ...]
    """All values, for a variable with only so many."""
    bounds: str
    """Such as `, above 0`; empty where there are none."""
    aliases: Mapping[str, Alias]
    """By old name, with the prefix."""

    @property
    def secret(self) -> bool:
        """Whether the value is shown nowhere."""
        return self.kind is SECRET

    @property
    def allowed(self) -> str:
        """What may be written, as the end of "must be ..."."""
        if not self.choices:
            return self.kind.allowed + self.bounds
        *others, last = self.choices
        return f"{', '.join(others)} or {last}"


def variables(settings: type[Environment]) -> tuple[Variable, ...]:
    """The variables of a class, in the order of declaration."""
    return tuple(_variable(settings.PREFIX, name, field) for name, field in settings.model_fields.items())


def shown(settings: Environment) -> dict[str, str]:
    """Every variable and its value as one would write it, secrets masked."""
    return {v.name: v.kind.spell(getattr(settings, v.field)) for v in variables(type(settings))}


def _variable(prefix: str, field: str, info: FieldInfo) -> Variable:
    kind = _kind(info)
    about = next(note for note in _annotations(info) if isinstance(note, About))
    return Variable(
        name=prefix + field.upper(),
        field=field,
        kind=kind,
        default=info.default,
        about=about,
        choices=get_args(info.annotation) if get_origin(info.annotation) is Literal else (),
        bounds=_bounds(kind, _annotations(info)),
        aliases={prefix + alias.name: alias for alias in about.aliases},
    )


def _kind(info: FieldInfo) -> Kind[object]:
    return next(note for note in _annotations(info) if isinstance(note, Kind))


def _annotations(info: FieldInfo) -> Iterator[object]:
    """What the field's `Annotated` says, that of an optional type's inside included."""
    yield from info.metadata
    for part in get_args(info.annotation):
        yield from getattr(part, "__metadata__", ())


def _bounds(kind: Kind[object], notes: Iterable[object]) -> str:
    phrases = []
    for note in notes:
        if isinstance(note, Gt):
            phrases.append(f"above {kind.spell(note.gt)}")
        elif isinstance(note, Ge) and note.ge != 0:
            phrases.append(f"at least {kind.spell(note.ge)}")
        elif isinstance(note, Le):
            phrases.append(f"at most {kind.spell(note.le)}")
    return "".join(f", {phrase}" for phrase in phrases)


# --- What an operator is told ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One bad variable."""

    name: str
    """As it stands in the environment."""
    value: str
    """As given, quoted; masked when secret."""
    way_out: str
    """Why it is refused, what is allowed, and an example."""

    def __str__(self) -> str:
        return f"{self.name}={self.value}: {self.way_out}"


class BadSettings(Exception):  # noqa: N818  -- what it lists is the name
    """The environment holds values that can't be used. The text is the message for the operator."""

    def __init__(self, problems: Iterable[Problem], warnings: Iterable[str]) -> None:
        self.problems = tuple(problems)
        """Every bad variable."""
        self.warnings = tuple(warnings)
        """As in `Reading`: a misspelled name may be the cause."""
        super().__init__("\n  ".join(["bad settings:", *map(str, self.problems)]))


@dataclass(frozen=True, slots=True)
class Reading(Generic[S]):
    """What `read` found."""

    settings: S
    sources: Mapping[str, str]
    """By variable where its value comes from: `default`, `environment` or `environment, as OLD_NAME`."""
    warnings: tuple[str, ...]
    """One line each: unknown and old names, values that Kubernetes put there."""


# --- Reading -----------------------------------------------------------------------------------------------


# Kubernetes tells every pod of a namespace of its Services (service links): NAME_PORT, a URL, and these.
SERVICE_LINK = r"(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def read(settings: type[S], environ: Mapping[str, str] = os.environ) -> Reading[S]:
    """Read the variables of a class; blanks around a value don't count, and an empty one counts as unset.

    Raises:
        BadSettings: with every bad variable.
    """
    source = _Source(settings, environ)
    return Reading(
        settings=_validate(settings, source),
        sources={
            variable.name: _came_from(variable, source.chosen.get(field))
            for field, variable in source.variables.items()
        },
        warnings=tuple(source.warnings),
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """A variable's value as it was found."""

    name: str
    value: str


# What `_Source` is handed over as; no field can have this name.
_SOURCE = "_source"


class _Source(PydanticBaseSettingsSource):
    """The variables of a class as an environment holds them: those that count, and what there is to say of others."""

    def __init__(self, settings: type[Environment], environ: Mapping[str, str]) -> None:
        super().__init__(settings)
        known = variables(settings)
        self.variables = {variable.field: variable for variable in known}
        """By field."""
        self.warnings: list[str] = []
        present = {
            name: text
            for name, value in environ.items()
            if name.upper().startswith(settings.PREFIX) and (text := value.strip())
        }
        _drop_service_links(settings.PREFIX, known, present, self.warnings)
        _warn_of_unknown(settings.PREFIX, known, present, self.warnings)
        self.chosen = {
            variable.field: given
            for variable in known
            if (given := _choose(variable, present, self.warnings)) is not None
        }
        """By field, without those that are unset."""
        self._values = {
            field: _in_the_new_spelling(self.variables[field], given, self.warnings)
            for field, given in self.chosen.items()
        }

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """As pydantic-settings asks for one: the text, what is wrong with it, or None; the name; never as JSON."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, object]:
        """By field the text, or what is wrong with it; without those that are unset."""
        return dict(self._values)


def _drop_service_links(prefix: str, known: Iterable[Variable], present: dict[str, str], warnings: list[str]) -> None:
    """Take out what Kubernetes made; only where it hides one of our variables is that worth a word."""
    ours = _names(known)
    link = re.compile(re.escape(prefix.rstrip("_")) + SERVICE_LINK)
    for name, value in list(present.items()):
        is_url = name.endswith("_PORT") and SERVICE_URL.match(value) is not None
        if name in ours and is_url:
            service = name.removesuffix("_PORT").replace("_", "-").lower()
            given = MASK if _holds_key(value) else _told(value)
            warnings.append(
                f"{name}={given} comes from a Kubernetes Service named {service} and counts as unset: "
                f"set {name} to a port, or enableServiceLinks to false in the pod"
            )
        if is_url or (name not in ours and link.fullmatch(name)):
            del present[name]


def _warn_of_unknown(prefix: str, known: Iterable[Variable], present: Iterable[str], warnings: list[str]) -> None:
    ours = _names(known)
    unknown = [name for name in present if name not in ours]
    if not unknown:
        return
    from difflib import get_close_matches  # noqa: PLC0415  -- needed only for a misspelled name

    endings = [name.removeprefix(prefix) for name in ours]
    for name in unknown:
        near = get_close_matches(name.upper().removeprefix(prefix), endings, n=1, cutoff=0.7)
        hint = f": did you mean {prefix}{near[0]}?" if near else ""
        warnings.append(f"{_told(name)} is not a known variable and has no effect{hint}")


def _names(known: Iterable[Variable]) -> set[str]:
    """All names that are read, old ones included."""
    return {name for variable in known for name in (variable.name, *variable.aliases)}


def _choose(variable: Variable, present: Mapping[str, str], warnings: list[str]) -> _Given | None:
    """The value that counts: the new name's, unless it holds only its default, as images set by ENV."""
    old = [name for name in variable.aliases if name in present]
    if variable.name in present and (not old or not _holds_default(variable, present[variable.name])):
        winner = variable.name
    elif old:
        winner, *old = old
    else:
        return None
    warnings.extend(f"{winner} and {name} are both set: {winner} counts, remove {name}" for name in old)
    return _Given(winner, present[winner])


def _holds_default(variable: Variable, text: str) -> bool:
    try:
        return variable.kind.parse(text) == variable.default
    except ValueError:
        return False


def _in_the_new_spelling(variable: Variable, given: _Given, warnings: list[str]) -> str | ValueError:
    """The text under the variable's own name, or why an old name's text can't be converted."""
    alias = variable.aliases.get(given.name)
    if alias is None:
        return given.value
    try:
        text = alias.convert(given.value)
    except ValueError as error:
        return error
    spelling = variable.name if _hidden(variable, text) else f"{variable.name}={text}"
    warnings.append(f"{given.name} is an old name: write {spelling}")
    return text


def _came_from(variable: Variable, given: _Given | None) -> str:
    # The image sets every default by ENV: what holds it says nothing.
    if given is None or (given.name == variable.name and _holds_default(variable, given.value)):
        return "default"
    return "environment" if given.name == variable.name else f"environment, as {given.name}"


def _validate(settings: type[S], source: _Source) -> S:
    problems: dict[str, Problem] = {}
    try:
        return settings(**{_SOURCE: source})
    except ValidationError as invalid:
        for detail in invalid.errors(include_url=False, include_input=False):
            field = str(detail["loc"][0])
            problems.setdefault(field, _problem(source.variables[field], source.chosen.get(field), _reason(detail)))
    # Outside of the `except`: what pydantic says may quote a secret, and is not to come along as the context.
    raise BadSettings(problems.values(), source.warnings)


def _reason(detail: ErrorDetails) -> ValueError:
    """What our own code said; what pydantic says is left to `Variable.allowed`."""
    error = detail.get("ctx", {}).get("error")
    return error if isinstance(error, ValueError) else ValueError()


def _problem(variable: Variable, given: _Given | None, reason: ValueError) -> Problem:
    if given is None:
        name, value = variable.name, f"{variable.kind.spell(variable.default)!r} (the default)"
        masked = False
    else:
        name, masked = given.name, _hidden(variable, given.value)
        value = MASK if masked else _told(repr(_USER_IN_URL.sub(f"//{MASK}@", given.value)))
    # What a conflict says is a rule's own words; any other reason may quote what is to be shown nowhere.
    shows = str(reason) and (not masked or isinstance(reason, Conflict))
    parts = [_told(str(reason))] if shows else []
    if name != variable.name:
        parts.append(f"{name} is an old name, write {variable.name}")
    if not isinstance(reason, Conflict):
        parts.append(f"must be {variable.allowed}, for example {variable.about.example}")
    return Problem(name, value, "; ".join(parts))


def _told(text: str) -> str:
    """As it is, or without its middle where that is long: what a message says of a part stands at both ends of it."""
    if len(text) <= _LONGEST_TOLD:
        return text
    half = _LONGEST_TOLD // 2
    return f"{text[:half]}...{text[-half:]} ({len(text)} characters)"


def _hidden(variable: Variable, text: str) -> bool:
    """Whether a value stays out of messages: a secret, or a key pasted into the wrong variable."""
    return variable.secret or _holds_key(text)


def _holds_key(text: str) -> bool:
    return any(mark in text for mark in _PRIVATE_KEY)
