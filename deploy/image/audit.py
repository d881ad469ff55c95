"""Are there known vulnerabilities in what images are made of? `python audit.py LOCK...`, by the pip-audit beside it.

Status 0: there are none; 1: there are; 77, with the reason: nobody could say. pip-audit itself ends well where an index
tells it nothing of any package, as mirrors do, so its report is read and not its status.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

NONE, FOUND, UNKNOWN = 0, 1, 77
Package = Mapping[str, object]


def main(*locks: str) -> int:
    """Ask, and print what was found."""
    tool = Path(sys.executable).with_name("pip-audit")
    named = [word for lock in locks for word in ("--requirement", lock)]
    # Nothing is installed or resolved: the locks name everything.
    command = [str(tool), "--disable-pip", "--require-hashes", *named, "--format", "json"]
    try:
        # The locks are ours, and the tool stands beside this Python.
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
        packages = json.loads(done.stdout)["dependencies"]
    except FileNotFoundError:
        print("skipped: pip-audit is not installed")
        return UNKNOWN
    except subprocess.TimeoutExpired:
        print("skipped: nobody has answered pip-audit within 120 s")
        return UNKNOWN
    except ValueError:
        print(f"skipped: {(done.stderr.strip() or 'pip-audit has said nothing').splitlines()[-1]}")
        return UNKNOWN
    status, lines = verdict(packages)
    print("\n".join(lines))
    return status


def verdict(packages: Iterable[Package]) -> tuple[int, list[str]]:
    """The status, and what there is to say, of a report's packages."""
    packages = list(packages)
    known = [package for package in packages if "skip_reason" not in package]
    found = [line for package in known for line in _vulnerabilities(package)]
    unknown = [f"  {package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package]
    if found:
        return FOUND, found
    if unknown:
        return UNKNOWN, [f"skipped: of {len(packages)} packages {len(unknown)} are not known to the index", *unknown]
    return NONE, [f"no known vulnerability in {len(packages)} packages"]


def _vulnerabilities(package: Package) -> list[str]:
    vulnerabilities = package["vulns"]
    assert isinstance(vulnerabilities, list)
    what = f"{package['name']} {package['version']}"
    fixes = [(one["id"], ", ".join(one["fix_versions"]) or "no version") for one in vulnerabilities]
    return [f"{what}: {number}, fixed in {versions}" for number, versions in fixes]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
