"""From addresses to sources: each of its kind, in its order, with a name that tells nothing secret."""

import asyncio
from pathlib import Path

from tests.companions.configsync.sources.serving import asking
from tlsproxy.companions.configsync.sources.kubernetes import Cluster


def test_each_of_its_kind() -> None:
    """Nothing is asked or read before the first fetch."""

    async def play() -> list[str]:
        text = "https://h/a?token=x#wait,d/=etcd+https://h/k/,configmap:c,pw=secret:n/s/password"
        async with asking(text, cluster=Cluster("https://127.0.0.1:1", Path("/nowhere"))) as sources:
            return [source.name for source in sources]

    assert asyncio.run(play(), debug=True) == [
        "https://h/a",
        "etcd+https://h/k/",
        "configmap:c/",
        "secret:n/s/password",
    ]
