"""What is masked in command lines and environments, and what is left as it is."""

import base64
import hashlib
import time

import pytest

from tlsproxy.companions.topz.masking import MASK, Masking, masked_text

# Made up, each in the form of its kind, and put together here so that no scanner takes this file for a leak.
JWT = ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxIn0", "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"))
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
BASE64 = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
HEX = hashlib.sha256(b"y").hexdigest()
GITHUB = "ghp_" + "a1B2c3D4" * 4


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("app --password=hunter2", "app --password=***"),
        ("app --password hunter2 --verbose", "app --password *** --verbose"),
        ("app --token abc", "app --token ***"),
        ("app -token abc", "app -token ***"),
        ("app --db.password=x y", "app --db.password=*** y"),
        ("app --dbPassword x", "app --dbPassword ***"),
        ("app --client-secret:x", "app --client-secret:***"),
        ("app API_KEY=abc", "app API_KEY=***"),
        ("env KEY=abc app", "env KEY=*** app"),
        ("java -Djavax.net.ssl.keyStorePassword=changeit Main", "java -Djavax.net.ssl.keyStorePassword=*** Main"),
        ("app password='two words'", "app password='***'"),
        ("app https://user:hunter2@host/path", "app https://user:***@host/path"),
        ("app postgresql://:hunter2@host/db?a=b", "app postgresql://:***@host/db?a=b"),
        ("git clone https://0123456789abcdefghij@host/x", "git clone https://***@host/x"),
        ("app Bearer abc12345", "app Bearer ***"),
        ("curl -H Authorization: Bearer abc12345", "curl -H Authorization: Bearer ***"),
        ("mysql -uroot -phunter2 db", "mysql -uroot -p*** db"),
        ("/usr/bin/mysqldump -phunter2", "/usr/bin/mysqldump -p***"),
        ("sshpass -p hunter2 ssh host", "sshpass -p *** ssh host"),
        ("redis-cli -a hunter2 get x", "redis-cli -a *** get x"),
        ("curl -u user:hunter2 host", "curl -u user:*** host"),
        ("curl --user user:hunter2 host", "curl --user user:*** host"),
        ("curl --user=user:hunter2 host", "curl --user=user:*** host"),
        ("curl -sSu user:hunter2 host", "curl -sSu user:*** host"),
        ("curl -suuser:hunter2 host", "curl -su*** host"),
        ("curl -b sid=hunter2 host", "curl -b *** host"),
        ("redis-server --requirepass hunter2", "redis-server --requirepass ***"),
        ("keytool -storepass hunter2", "keytool -storepass ***"),
        ("zip -P hunter2 a.zip", "zip -P *** a.zip"),
        ("7z a -phunter2 a.7z", "7z a -p*** a.7z"),
        ("ssh-keygen -N hunter2", "ssh-keygen -N ***"),
        ("xfreerdp /u:user /p:hunter2", "xfreerdp /u:user /p:***"),
        ("app https://host/x?sig=abc", "app https://host/x?sig=***"),
        ("app https://hooks.slack.com/services/T0/B0/abc", "app https://hooks.slack.com/services/***"),
        ("app https://api.telegram.org/bot12345:abcdefghijklmnopqrst/x", "app https://api.telegram.org/bot***/x"),
        ("tool -u user -p hunter2", "tool -u user -p ***"),
        ("smbclient -U user%hunter2", "smbclient -U user%***"),
        ("openssl enc -k hunter2", "openssl enc -k ***"),
        ("docker run -e PASSWORD=hunter2 app", "docker run -e PASSWORD=*** app"),
        ("app jdbc:mysql://host/db?user=a&password=b&c=d", "app jdbc:mysql://host/db?user=a&password=***&c=d"),
        ("app https://host/x?access_token=abc&y=1", "app https://host/x?access_token=***&y=1"),
        ("app amqp://user:p@ss@host", "app amqp://user:***@host"),
        ("curl -H X-Api-Key: abc", "curl -H X-Api-Key: ***"),
        ("app --password=/hunter2", "app --password=***"),
        ("app --password=$ecret1", "app --password=***"),
        ("app --secret=/aB3dEf6hIj9lMn/pQr5tUv8xYz1bCd4fG", "app --secret=***"),
        (f"app {JWT}", "app ***"),
        (f"app {AWS}", "app ***"),
        (f"app {GITHUB}", "app ***"),
        (f"app {BASE64}", "app ***"),
        (f"app --digest {HEX}", "app --digest ***"),
        ('app {"password":"hunter2","a":1}', 'app {"password":"***","a":1}'),
    ],
)
def test_secrets_are_masked(line: str, shown: str) -> None:
    """What is a secret by its name, its option or its form is not shown; all around it is."""
    arguments = line.split(" ") if "'" not in line else ["app", line.removeprefix("app ")]
    assert " ".join(Masking().arguments(arguments)) == shown


@pytest.mark.parametrize(
    "line",
    [
        "nginx: worker process",
        "nginx -p /etc/nginx -c nginx.conf",
        "mkdir -p directory",
        "ssh -p 2222 host",
        "app --password-file /run/secrets/password",
        "app --password-file=/run/secrets/password",
        "app --tls-key /certs/tls.key --tls-key=tls.pem",
        "app --auth=off --token-ttl 5m --key-name x",
        "app --keyspace x --monkey y --author z --bypass w",
        "app --secret $SECRET --token=$(TOKEN) --password ${PASSWORD}",
        "app --token @/run/token --token=./token --key ~/key --password=${HOME}/password",
        "java -cp /opt/Application1/lib/Library2/Classes3/More4.jar org.example.LongNameOfAClassAsTheyAreInSpring",
        "postgres: app database 10.0.0.7(51234) idle",
        "python -m http.server --bind 127.0.0.1 8000",
        "/pause",
        "app http://host:8080/path@x",
        "app user@host:/path",
        "app --id 123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_all_else_is_shown(line: str) -> None:
    """Paths, names, switches and things about secrets stay readable."""
    assert " ".join(Masking().arguments(line.split(" "))) == line


def test_a_shell_line_is_a_command_line() -> None:
    """What a shell is given in one argument is masked like arguments, blanks kept."""
    masked = Masking().arguments(["sh", "-c", "exec  mysql -u root -phunter2 --token\tabc | tee /tmp/x"])
    assert masked == ("sh", "-c", "exec  mysql -u root -p*** --token\t*** | tee /tmp/x")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("app --token 'a b' c", "app --token *** c"),
        ("export TOKEN=abc; exec app --token \"a b\" && curl -u me:pw https://x",
         "export TOKEN=***; exec app --token *** && curl -u me:*** https://x"),
        ("mysqldump -px db | redis-cli -a y", "mysqldump -p*** db | redis-cli -a ***"),
        ("su -c 'mysql -px' app", "su -c 'mysql -p***' app"),
        ("echo it's; app --token x", "echo it's; app --token ***"),
    ],
)  # fmt: skip
def test_lines_of_a_shell(line: str, shown: str) -> None:
    """Quotes hold a value together, and each command of a line has its own options."""
    assert Masking().arguments(["sh", "-c", line])[2] == shown


def test_a_header_is_masked_to_its_end() -> None:
    """Whatever scheme Authorization names, and however many words follow."""
    assert Masking().arguments(["curl", "-H", "Authorization: Token a b"]) == ("curl", "-H", "Authorization: ***")
    assert Masking().arguments(["sh", "-c", "curl -H 'Authorization: A b' x"])[2] == "curl -H 'Authorization: ***' x"


def test_a_title_is_a_command_line() -> None:
    """A process that has rewritten its command line into one text is masked like another."""
    assert Masking().arguments(["worker: --password hunter2"]) == ("worker: --password ***",)


def test_an_option_without_its_value() -> None:
    """What follows a secret's name and is an option itself is no value."""
    assert Masking().arguments(["app", "--password", "--verbose", "x"]) == ("app", "--password", "--verbose", "x")
    assert Masking().arguments(["app", "--password"]) == ("app", "--password")
    assert Masking().arguments([]) == ()
    assert Masking().arguments(["", ""]) == ("", "")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("DATABASE_PASSWORD", "hunter2", MASK),
        ("PGPASSWORD", "hunter2", MASK),
        ("MYSQL_PWD", "hunter2", MASK),
        ("AWS_SECRET_ACCESS_KEY", "x", MASK),
        ("SESSION_KEY", "x", MASK),
        ("SENTRY_DSN", "x", MASK),
        ("DATABASE_URL", "postgres://app:hunter2@db/x", "postgres://app:***@db/x"),
        ("OPTIONS", "--password=hunter2 -v", "--password=*** -v"),
        ("DB_PASSWORD_FILE", "/run/secrets/db", "/run/secrets/db"),
        ("TLS_KEY", "/certs/tls.key", "/certs/tls.key"),
        ("PATH", "/usr/local/bin:/usr/bin", "/usr/local/bin:/usr/bin"),
        ("TOKEN", "", ""),
        ("AUTH", "off", "off"),
        ("INNOCENT", JWT, MASK),
    ],
)
def test_variables(name: str, value: str, shown: str) -> None:
    """A variable is judged by its name, and then by what its value looks like."""
    assert Masking().variable(name, value) == shown


def test_further_words() -> None:
    """Words of the operator's own are secrets too, in any case."""
    masking = Masking(["Badge"])
    assert masking.arguments(["app", "--badge-no=7", "--badge", "8"]) == ("app", "--badge-no=***", "--badge", "***")
    assert masking.variable("STAFF_BADGE", "x") == MASK


def test_private_keys() -> None:
    """A private key is masked whole, also one that is cut off."""
    pem = "-----BEGIN EC PRIVATE KEY-----\nabc\ndef\n-----END EC PRIVATE KEY-----"
    assert masked_text(f"a {pem} b") == "a *** b"
    assert masked_text(f"a {pem[:40]}") == "a ***"


def test_masking_takes_no_time_to_speak_of() -> None:
    """No text, however long and odd, takes more than its length: what processes write into their titles is theirs."""
    for odd in (
        "a",
        "a.b-",
        "a=",
        "eyJ",
        "://",
        "-----BEGIN ",
        "a.",
        "' ",
        "password ",
        "a:/",
        "a@",
        "'\"",
        "'a ",
        "='",
        "'",
        "' ;'",
    ):
        began = time.process_time()
        Masking().arguments([odd * (4096 // len(odd))])
        assert time.process_time() - began < 0.1, odd
