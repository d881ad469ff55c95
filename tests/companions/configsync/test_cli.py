"""configsync's command line: its verbs, and help without a wait."""

import subprocess
import sys

import pytest

from tlsproxy.companions.configsync.cli import PROGRAM, main


@pytest.mark.parametrize("verb", ["run", "check", "demo", "health", "config", "history", "rollback", "pin", "unpin"])
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And is named in the program's."""
    for arguments in ([verb, "--help"], ["--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert verb in capsys.readouterr().out


def test_help_needs_nothing() -> None:
    """What the command line imports at once is neither settings nor what serves."""
    code = "import sys, tlsproxy.companions.configsync.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"pydantic", "aiohttp", "asyncio", "logging", "json", "http.client"}.isdisjoint(loaded)


def test_what_serves_reads_no_authorities() -> None:
    """aiohttp's client is loaded without every CA that the system trusts, which is 2 MB; and pydantic not at all."""
    code = (
        "import ssl, sys; read = []; loaded = ssl.SSLContext.set_default_verify_paths; "
        "from tlsproxy.companions.configsync.cli import PROGRAM; PROGRAM.serve(); import aiohttp.connector; "
        "print(aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()['x509'], "
        "ssl.SSLContext.set_default_verify_paths is loaded, 'pydantic' in sys.modules, 'uvloop' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", "False", "False"]
    assert set(PROGRAM.verbs) == {"history", "rollback", "pin", "unpin"}
