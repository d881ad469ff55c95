"""From addresses to sources: who asks whom, with which credentials."""

from collections.abc import Iterable

from tlsproxy.companions.configsync.sources.addresses import (
    Address,
    EtcdAddress,
    HttpAddress,
    KubernetesAddress,
    Origin,
)
from tlsproxy.companions.configsync.sources.client import Bounds, Client
from tlsproxy.companions.configsync.sources.content import Source
from tlsproxy.companions.configsync.sources.credentials import Credentials
from tlsproxy.companions.configsync.sources.etcd import EtcdSource
from tlsproxy.companions.configsync.sources.http import HttpSource
from tlsproxy.companions.configsync.sources.kubernetes import Cluster, KubernetesSource


def opened(
    addresses: Iterable[Address], credentials: Credentials, cluster: Cluster, bounds: Bounds
) -> tuple[Source, ...]:
    """The sources in their order; nothing is connected before the first fetch. Each is to be closed.

    The credentials are for the origin of the first address that is a URL, and for others of the same origin; any other
    gets none but the CAs. ConfigMaps and Secrets are read with the service account alone.
    """
    addresses = tuple(addresses)
    let_in = next((_origin(address) for address in addresses if not isinstance(address, KubernetesAddress)), None)

    def source(address: Address) -> Source:
        if isinstance(address, KubernetesAddress):
            client = Client(Origin.of(cluster.api), cluster.credentials(), bounds)
            return KubernetesSource(address, cluster, client, bounds)
        origin = _origin(address)
        shown = credentials if origin == let_in else credentials.for_strangers()
        if isinstance(address, HttpAddress):
            return HttpSource(address, Client(origin, shown, bounds), bounds)
        return EtcdSource(address, Client(origin, shown.for_tls(), bounds), shown, bounds)

    return tuple(map(source, addresses))


def _origin(address: HttpAddress | EtcdAddress) -> Origin:
    return Origin.of(address.url if isinstance(address, HttpAddress) else address.endpoint)
