"""How long a change takes from the API to the volume, by how it is heard of; and what the process takes.

    python -m tests.companions.configsync.e2e.figures

A report, and no test: the machine decides.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.companions.companion_process import Companion, executing
from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.test_kubernetes import cluster
from tests.companions.configsync.e2e.volume import Volume
from tests.companions.configsync.sources.api_server import mounted_account
from tests.companions.configsync.sources.serving import AUTHORITY
from tests.companions.configsync.sources.test_etcd import Etcd, started

CHANGES = 15
APART = 1.3
"""Seconds between two changes: above the least time between two fetches, so that this is not what is measured."""
SETTLED = 30.0
"""Seconds until the memory of a process that follows one URL is looked at."""


@contextmanager
def following(directory: Path, **settings: object) -> Iterator[Companion]:
    given = {"UPDATE_PERIOD": "1h", "CONTROL_PORT": "0", "DIR": directory / "volume", **settings}
    with Companion("configsync", directory, given, executing("configsync")) as companion:
        yield companion.wait_until_ready()


def times(directory: Path, put: Callable[[int], object]) -> list[float]:
    """Seconds from the end of each change to the moment in which the volume has it."""
    volume, found = Volume(directory / "volume"), []
    for number in range(1, CHANGES + 1):
        time.sleep(APART)
        put(number)
        began = time.monotonic()
        while volume.json("a.json") != number:
            time.sleep(0.001)
        found.append(time.monotonic() - began)
    return found


def by_http(directory: Path, fragment: str, **settings: object) -> list[float]:
    with ConfigApi() as api:
        api.put("/a.json", 0)
        with following(directory, SOURCES=f"a.json={api.url}/a.json{fragment}", **settings):
            return times(directory, lambda number: api.put("/a.json", number))


def by_etcd(directory: Path) -> list[float]:
    found = []
    for etcd in started(directory):

        def put(number: int, etcd: Etcd = etcd) -> None:
            etcd.put("/a.json", str(number).encode())

        put(0)
        with following(directory, SOURCES=f"etcd+{etcd.url}/a.json"):
            found = times(directory, put)
    return found


def by_kubernetes(directory: Path) -> list[float]:
    account = directory / "account"
    account.mkdir()
    mounted_account(account, AUTHORITY.cert_pem.bytes())
    with cluster() as found:

        def put(number: int) -> None:
            found.do(found.server.put("configmaps", "shop", data={"a.json": str(number)}))

        put(0)
        with following(directory, SOURCES="configmap:shop/", KUBERNETES_API=found.url, KUBERNETES_ACCOUNT=account):
            return times(directory, put)


WAYS: Mapping[str, Callable[[Path], list[float]]] = {
    "asked each second": lambda directory: by_http(directory, "", UPDATE_PERIOD="1s"),
    "held request (#wait)": lambda directory: by_http(directory, "#wait"),
    "server-sent events (#events)": lambda directory: by_http(directory, "#events=/events"),
    "etcd watch": by_etcd,
    "Kubernetes watch": by_kubernetes,
}


def memory(directory: Path) -> int:
    with ConfigApi() as api:
        api.put("/a.json", 0)
        with following(directory, SOURCES=f"a.json={api.url}/a.json", UPDATE_PERIOD="1s") as companion:
            time.sleep(SETTLED)
            return companion.resident()


def main() -> None:
    for name, measure in WAYS.items():
        with TemporaryDirectory() as directory:
            found = measure(Path(directory))
        sys.stdout.write(f"{name}: median {statistics.median(found):.2f} s, longest {max(found):.2f} s of {CHANGES}\n")
    with TemporaryDirectory() as directory:
        sys.stdout.write(f"resident after {SETTLED:g} s: {memory(Path(directory)) / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
