"""What the proxy counts: plain integers, added to where things happen and read at scrape time."""

from collections import Counter
from collections.abc import Iterator

from tlsproxy.chassis.measures import Distribution, Measure
from tlsproxy.proxy.refusals import AppFault, OurLimit

# From a fast answer of a local app to the longest wait that the default deadlines allow.
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONNECTS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
# RFC 9110 section 9 and RFC 5789; any other method is counted as `other`, so that the label is bounded.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
# Shown from the start: of a series that begins with its first failure, Prometheus sees no growth.
APP_ERRORS = tuple(sorted({kind.reason for top in (AppFault, OurLimit) for kind in top.__subclasses__()}))


class Tally:
    """Counts of one process since its start."""

    __slots__ = ("app_connects", "app_errors", "durations", "received", "requests", "sent", "tunnels")

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        """Answers by method and status; a request whose client left before the answer counts as 499."""
        self.durations = Distribution(DURATIONS)
        self.received = 0
        """Bytes of request bodies."""
        self.sent = 0
        """Bytes of response bodies."""
        self.tunnels = 0
        """Tunnels that are open."""
        self.app_errors: Counter[str] = Counter()
        """Failures of the app by the `reason` of the request line."""
        self.app_connects = Distribution(CONNECTS)

    def measures(self) -> Iterator[Measure]:
        """The counts as metric families."""
        requests: Counter[tuple[str, ...]] = Counter()
        for (method, code), count in self.requests.items():
            requests[method if method in METHODS else "other", str(code)] += count
        yield Measure("tlsproxy_requests_total", "counter", "Requests answered.", ("method", "code"), requests)
        yield Measure(
            "tlsproxy_request_duration_seconds",
            "histogram",
            "Time from the end of a request's head to the end of its response.",
            (),
            {(): self.durations},
        )
        yield Measure("tlsproxy_received_bytes_total", "counter", "Bytes of request bodies.", (), {(): self.received})
        yield Measure("tlsproxy_sent_bytes_total", "counter", "Bytes of response bodies.", (), {(): self.sent})
        yield Measure("tlsproxy_tunnels", "gauge", "Open tunnels: upgrades and tcp mode.", (), {(): self.tunnels})
        yield Measure(
            "tlsproxy_app_errors_total",
            "counter",
            "Requests that failed because of the app, by the reason in the request line.",
            ("reason",),
            {(reason,): self.app_errors[reason] for reason in APP_ERRORS},
        )
        yield Measure(
            "tlsproxy_app_connect_seconds",
            "histogram",
            "Time to open a connection to the app.",
            (),
            {(): self.app_connects},
        )
