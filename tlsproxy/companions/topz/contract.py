"""topz's surface: what others rely on, for the documents and the tests; nothing of it runs while it serves."""

from collections.abc import Iterator

from tlsproxy.chassis import documents
from tlsproxy.chassis.documents import Listing, Surface
from tlsproxy.chassis.measures import Measure
from tlsproxy.companions.topz.settings import Settings
from tlsproxy.companions.topz.verbs import WORDS


def _measures() -> Iterator[Measure]:
    """What is shown at a scrape, before anything has happened."""
    from tlsproxy.companions.topz.measures import (  # noqa: PLC0415 - the rooms are loaded for documents only
        container_measures,
        look_measures,
        machine_measures,
    )
    from tlsproxy.companions.topz.program import build_measure  # noqa: PLC0415
    from tlsproxy.companions.topz.snapshot import Machine  # noqa: PLC0415

    yield from container_measures(())
    yield from machine_measures(Machine("", 1, None, None, None, {}))
    yield from look_measures(0, 0.0)
    yield build_measure()


def _pressure_labels() -> dict[str, frozenset[str]]:
    from tlsproxy.companions.topz.pressure import RESOURCES  # noqa: PLC0415 - as above

    values = {"resource": frozenset(RESOURCES), "kind": frozenset({"some", "full"})}
    families = ("topz_container_pressure_seconds_total", "topz_pressure_seconds_total")
    return {f"{family}{{{label}}}": known for family in families for label, known in values.items()}


def _more() -> tuple[Listing, ...]:
    from tlsproxy.companions.topz.columns import COLUMNS  # noqa: PLC0415 - as above
    from tlsproxy.companions.topz.question import PARAMETERS  # noqa: PLC0415

    return (
        Listing(
            "paths",
            "Paths of the page's port",
            {
                "/": "308 to /topz",
                "/topz": "the processes, as HTML, text or JSON",
                "/topz/PID": "one process in detail, in the same forms",
            },
        ),
        Listing("parameters", "Parameters of a query", PARAMETERS),
        Listing("columns", "Columns", {key: f"{column.title}: {column.meaning}" for key, column in COLUMNS.items()}),
        Listing("json", "Fields of a process in JSON", JSON_PROCESS),
        Listing("json_container", "Fields of a container in JSON", JSON_CONTAINER),
    )


JSON_PROCESS = {
    "pid": "its number",
    "ppid": "its parent's",
    "name": "as the kernel has it, at most 15 characters",
    "command": "with its arguments, secrets masked",
    "state": "`running`, `sleeping`, `disk sleep`, `zombie`, `stopped`, `idle`, ...",
    "user": "its effective user's name, or number where the name is not known here",
    "threads": "how many",
    "started": "RFC 3339 in UTC",
    "cpu_percent": "of one CPU, over interval_seconds",
    "cpu_seconds": "since it began",
    "memory_percent": "RSS, of its container's limit or the machine's memory",
    "rss_bytes": "shared pages included",
    "pss_bytes": "its part of shared pages",
    "container": "its container's name",
    "depth": "how far below its top it stands, with `tree`",
}
JSON_CONTAINER = {
    "name": "unlike any other's",
    "id": "its first 12 digits",
    "cgroup": "as this process sees its path",
    "infra": "whether it only holds the pod's namespaces",
    "processes": "how many",
    "threads": "how many",
    "cpu_percent": "of one CPU, over interval_seconds",
    "cpu_seconds": "of its cgroup, or what its processes were seen to use",
    "cpu_limit": "CPUs' worth of time",
    "throttled_percent": "of the limit's periods in which it was held back",
    "throttled_seconds": "that it was held back",
    "memory_bytes": "page cache included",
    "working_set_bytes": "without what can be taken back at once",
    "memory_limit_bytes": "what it may use",
    "memory_percent": "the working set, of the limit",
    "rss_bytes": "the sum of its processes'",
    "pss_bytes": "the sum of its processes'",
    "oom_kills": "processes killed for want of memory",
    "pressure": "by resource: `some_percent`, `full_percent`, `some_seconds`, `full_seconds`",
}

SURFACE = Surface(
    settings=Settings,
    words=WORDS,
    exit_statuses=documents.EXIT_STATUSES,
    ports={
        "TOPZ_PORT": "the page, over plain HTTP",
        "TOPZ_ADMIN_PORT": "probes and Prometheus, over plain HTTP",
    },
    endpoints=documents.endpoints(
        started="the page's port is open",
        ready="processes can be looked at and the token can be read",
        status="where the page is, what looking has cost",
    ),
    signals=documents.SIGNALS,
    measures=_measures,
    labels_by_events=_pressure_labels,
    free_labels=frozenset({"container", "id", "resource", "kind"}),
    more=_more,
)
