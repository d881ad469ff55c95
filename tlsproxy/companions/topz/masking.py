"""Secrets in command lines and environments, masked before anything else sees them; pure.

It is a net and not a proof: a secret that looks like any other word, under a name that says nothing, passes. Where in
doubt the value is masked: a page that hides a digest does less harm than one that shows a password.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain, zip_longest

MASK = "***"

# --- What looks like a secret, wherever it stands ----------------------------------------------------------

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # A password in a URL, and a token in place of a user (`https://ghp_...@github.com`).
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://[^\s/?#@:'\"]*):[^\s/'\"]+@"), rf"\1:{MASK}@"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/?#@:'\"]{20,}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b((?:proxy-)?authorization['\"]?\s?[:=]\s?)[^\s'\"][^'\"]*"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer|basic|negotiate|digest)(\s+)(?=[^\s'\"]*[0-9=+/._~-])[^\s'\"]{8,}"), rf"\1\2{MASK}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(\.[\w-]*)*"), MASK),
    (re.compile(r"\b(AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b"), MASK),
    # GitHub, GitLab, Slack, Stripe, OpenAI and its like, Google, npm, PyPI, HashiCorp, age.
    (re.compile(r"\b(gh[opsur]_|github_pat_|glpat-|glrt-|xox[a-z]-|[sr]k_(live|test)_)[\w-]{8,}"), MASK),
    (re.compile(r"\b(sk-|AIza|ya29\.|npm_|pypi-|hv[sb]\.|AGE-SECRET-KEY-)[\w-]{16,}"), MASK),
    # The paths of webhooks and bots, by which whoever has them posts: Slack, Discord, Telegram.
    (re.compile(r"(?i)\b(hooks\.slack\.com/\w+/|discord(?:app)?\.com/api/webhooks/)[^\s'\"]+"), rf"\1{MASK}"),
    (re.compile(r"/bot[0-9]{5,}:[\w-]{20,}"), f"/bot{MASK}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), MASK),
    (re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}(?![0-9A-Za-z])"), MASK),
)
_LONG = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
"""What may be base64, of 24 bytes or more; paths and names of classes are of such characters too."""


def masked_text(text: str) -> str:
    """A text with what looks like a secret by itself masked."""
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return _LONG.sub(lambda found: MASK if _is_random(found[0]) else found[0], text)


def _is_random(word: str) -> bool:
    """Whether a long word is more likely encoded bytes than a path or the name of a class."""
    digits = sum(character.isdigit() for character in word)
    mixed = word != word.lower() and word != word.upper()
    return mixed and digits >= 2 and word.count("/") <= len(word) // 16 and not word.startswith("/")


# --- What is a secret by its name --------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = _words("""
    password passwd passphrase passcode passw pass pwd pw secret secrets token tokens apikey authtoken credential
    credentials creds auth authorization bearer cookie cookies jwt otp pin salt signature sig dsn
    requirepass masterauth storepass keypass
""")
_KEYS = frozenset({"key", "keys"})
_OPEN_KEYS = _words("""
    public pub primary foreign sort partition file name id row host known index cache routing object
""")
_NEITHER = _words("""
    file files path paths dir directory folder name names url uri endpoint host port user username type kind mode
    method class ttl timeout expiry expires expiration age lifetime length size count limit max min period
    interval enabled disabled enable disable required allowed policy provider issuer audience algorithm algo alg
    header format version socket sock
""")
"""At the end of a name these say that the value is something about a secret, and not the secret."""
_PLAIN_VALUES = _words("""
    on off true false yes no none null 0 1 required optional disabled enabled auto basic md5 peer
""")
_SCHEME = re.compile(r"bearer|basic|digest|negotiate|token", re.IGNORECASE)
"""Of HTTP's Authorization; the secret is behind it."""
_WHERE = re.compile(
    # A path, of more than its root; a file; a variable; a file as curl has it.
    r"(\.{1,2}|~|\$\{?\w+\}?)?/[\w.@-]+/.*|(\.{1,2}|~|\$\{?\w+\}?)/.*|[^\s=]*\.(pem|key|crt|cer|jks|p12|pfx|json|ya?ml|txt|conf)"
    r"|\$(\{[A-Z_][A-Z0-9_]*\}|\([A-Z_][A-Z0-9_]*\)|[A-Z_][A-Z0-9_]*)|@[\w./-]*[./][\w./-]*"
)
"""Values that say where a secret is."""


class Masking:
    """Masks by what words look like, by the names before them, and by what a program's own options mean.

    Args:
        further: words of names whose values are secrets besides the known ones, such as `badge`; in any case.
    """

    def __init__(self, further: Iterable[str] = ()) -> None:
        self._words = _SECRET_WORDS | {word.lower() for word in further}

    def __repr__(self) -> str:
        return f"<Masking by {len(self._words)} words>"

    def arguments(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """A command line, each argument masked; as many as there were."""
        return tuple(self._arguments(arguments))

    def variable(self, name: str, value: str) -> str:
        """The value of an environment variable."""
        return MASK if self._is_secret(name) and value and not _is_about(value) else self._text(value)

    # ------------------------------------------------------------------ one command line

    def _arguments(self, arguments: Sequence[str]) -> Iterator[str]:
        options = _options_of(arguments)
        masked: Callable[[str], str] | None = None
        for number, argument in enumerate(arguments):
            if number and arguments[number - 1].endswith(_SEPARATORS):
                options, masked = _options_of(arguments[number : number + _LONGEST_COMMAND]), None
            if masked is not None and not argument.startswith("-"):
                yield masked(argument)
                masked = masked if _SCHEME.fullmatch(argument) else None
                continue
            masked = self._next(argument, options)
            is_program = number == 0 and not re.search(r"[\s=:]", argument)
            yield argument if is_program else self._argument(argument, options)

    def _next(self, argument: str, options: "_Options") -> Callable[[str], str] | None:
        """What masks the argument behind this one; None: it stands for itself."""
        _, argument = options.alone(argument)
        if argument in options.pairs:
            return _without_password
        if argument in options.secret or argument.lower() == "bearer":
            return lambda _: MASK
        name = re.fullmatch(r"--?(?P<option>[\w.-]+)|['\"]?(?P<field>[\w-]+):", argument)
        if name and self._is_secret(name["option"] or name["field"]):
            return lambda value: value if _is_about(value) or _SCHEME.fullmatch(value) else MASK
        return None

    def _argument(self, argument: str, options: "_Options") -> str:
        flags, option = options.alone(argument)
        attached = next((known for known in options.attached if option.startswith(known)), "")
        if attached and option != attached:
            return (flags + attached[1:] if flags else attached) + MASK
        name, equals, value = argument.partition("=")
        if equals and name in options.pairs:
            return name + equals + self._text(_without_password(value))
        return self._text(argument)

    # ------------------------------------------------------------------ one text

    def _text(self, text: str, quotes: int = 0) -> str:
        """A text that may hold assignments or be a command line of its own, as `sh -c` has it.

        Args:
            text: without the quotes around it that have been taken off.
            quotes: how many that were.
        """
        text = self._assignments(masked_text(text))
        words = _SHELL_WORD.findall(text)
        if len(words) > 1:
            gaps = _SHELL_WORD.split(text)
            return "".join(chain.from_iterable(zip_longest(gaps, self._arguments(words), fillvalue="")))
        if quotes < _DEEPEST and len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            return text[0] + self._text(text[1:-1], quotes + 1) + text[0]
        return text

    def _assignments(self, text: str) -> str:
        """`NAME=value`, `name: value`, `"name": "value"`; a value that is no secret may hold others, as a URL does."""
        pieces, at = [], 0
        while found := _NAME.search(text, at):
            pieces.append(text[at : found.end()])
            at = found.end()
            value = _VALUE.match(text, at) if self._is_secret(found["name"]) else None
            if value and not _is_about(value[0]):
                pieces.append(MASK)
                at = value.end()
        return "".join((*pieces, text[at:]))

    def _is_secret(self, name: str) -> bool:
        """Whether a secret is what has this name."""
        words = [word.lower() for word in _WORDS.findall(name)]
        if not words or words[-1] in _NEITHER:
            return False
        if self._words.intersection(words) or any(word.endswith(("password", "passwd", "secret")) for word in words):
            return True
        return words[-1] in _KEYS and not _OPEN_KEYS.intersection(words)


_DEEPEST = 8
"""Quotes around a text that are looked behind: a shell's line has three or four, a hostile one thousands."""
_NAME = re.compile(r"(?<![\w.-])[.-]*+(?P<name>\w[\w.-]*+)(['\"]?\s?[=:]\s?|['\"]\s*:\s*)['\"]?")
_SHELL_WORD = re.compile(r"(?:'[^']*+'|\"[^\"]*+\"|[^\s'\"]++|['\"])++")
"""What stands between blanks; blanks in quotes are a word's own."""
_VALUE = re.compile(r"(?<=['\"])[^'\"]*|[^\s,;&'\"]+")
"""A value ends at a blank, or where its quotes do."""


def _is_about(value: str) -> bool:
    """Whether a value tells where or whether there is a secret."""
    if value.lower() in _PLAIN_VALUES or value.strip("'\"") == MASK:
        return True
    # A secret may begin with a slash as well, and has others in it.
    return _WHERE.fullmatch(value) is not None and not any(map(_is_random, value.split("/")))


def _without_password(value: str) -> str:
    """`user:***` of `user:password`, and `user%***` as Samba has it."""
    found = re.match(r"([^:%]*)([:%])", value)
    return f"{found[1]}{found[2]}{MASK}" if found else value


# --- What is a secret by the program's own options ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Options:
    """What the options of one program mean."""

    secret: AbstractSet[str] = frozenset()
    """The next argument is a secret."""
    attached: tuple[str, ...] = ()
    """What follows in the same argument is a secret."""
    pairs: AbstractSet[str] = frozenset()
    """The next argument is `user:password`."""
    flags: str = ""
    """Options without a value, by their letters: one with a value may stand behind them in the same argument."""

    def alone(self, argument: str) -> tuple[str, str]:
        """The flags in front of an option in the same argument, and the option; most have none."""
        flags = re.match(rf"-[{self.flags}]+(?=[a-zA-Z])", argument) if self.flags else None
        return (flags[0], f"-{argument[flags.end() :]}") if flags else ("", argument)


_SEPARATORS = (";", "&", "|")
"""What ends one command of a shell's line."""
_LONGEST_COMMAND = 64
"""Words of such a command that are looked at for whose they are: a line of separators alone costs no more than that."""
_PAIRS = frozenset({"--user", "--proxy-user"})
"""Options whose values are masked behind a colon, whatever the program."""
_USERS = frozenset({"-u", "-U", "--user", "--username", "--login"})
_BY_PROGRAM: tuple[tuple[re.Pattern[str], _Options], ...] = (
    (re.compile(r"(mysql|mariadb)[\w-]*|mydumper"), _Options(attached=("-p",))),
    (re.compile(r"curl"), _Options({"-b"}, ("-u", "-b"), _PAIRS | {"-u", "-U"}, flags="#0fgGikLNsSv")),
    (re.compile(r"ab"), _Options(attached=("-u",), pairs={"-A", "-P"})),
    (re.compile(r"zip|unzip"), _Options(secret={"-P"}, attached=("-P",))),
    (re.compile(r"7z[ar]?"), _Options(attached=("-p",))),
    (re.compile(r"ssh-keygen"), _Options(secret={"-N", "-P"})),
    (re.compile(r"[wx]freerdp\d?"), _Options(attached=("/p:",))),
    (re.compile(r"https?"), _Options(pairs={"-a", "--auth"})),
    (re.compile(r"sshpass|docker|podman|skopeo|helm|mongo\w*"), _Options(secret={"-p"}, attached=("-p",))),
    (re.compile(r"redis-cli|valkey-cli|snmp\w+"), _Options(secret={"-a", "-A", "-X"})),
    (re.compile(r"ldap\w+"), _Options(secret={"-w"}, attached=("-w",))),
    (re.compile(r"sqlcmd|mosquitto_(pub|sub|rr)"), _Options(secret={"-P"}, attached=("-P",))),
    (re.compile(r"smbclient|rpcclient|net"), _Options(pairs={"-U"})),
    (re.compile(r"openssl"), _Options(secret={"-k", "-K", "-pass", "-passin", "-passout"})),
)
_OTHERS = _Options(pairs=_PAIRS)
_OTHERS_WITH_A_USER = _Options(secret={"-p"}, pairs=_PAIRS)


def _options_of(arguments: Sequence[str]) -> _Options:
    """The options of the first program in the line that is known; else `-p` is a password beside a user's name."""
    for argument in arguments[:4]:
        program = argument.strip("'\"").rpartition("/")[2]
        for names, options in _BY_PROGRAM:
            if names.fullmatch(program):
                return options
    return _OTHERS_WITH_A_USER if _USERS.intersection(arguments) else _OTHERS
