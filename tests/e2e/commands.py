"""The commands as their users run them: to the end, with an environment that is all their own."""

import os
import subprocess

from tests.e2e.sidecar_process import PASSED_ON, PROJECT, command

WITHIN = 20.0  # seconds


def run(*arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run `tlsproxy` with these arguments and TLSPROXY_* variables; it must not end with a traceback."""
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    (*program, _) = command()
    done = subprocess.run(
        [*program, *arguments],
        env=inherited | {f"TLSPROXY_{name}": str(value) for name, value in variables.items()},
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done
