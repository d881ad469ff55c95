"""A run as text for the terminal: its heading, the tables, the notes."""

from bench import sizing, tables
from bench.results import Results

LEGEND = (
    "CPU: user and system time of the front's processes for each request answered, median (lowest-highest).",
    "A ratio is the other's CPU over this front's in the same round: above 1, this front is the cheaper.",
    "front: the share of its core that it used. load+app: how busy theirs was; where it is full, it sets the rate.",
    "tlsproxy and plain aiohttp have the malloc thresholds of tlsproxy's image. Latency begins when a request is due.",
)


def render(results: Results) -> str:
    """The whole report."""
    loads = [tables.detail(results, name) for name, by_front in results.samples.items() if by_front]
    rest = [
        tables.latency(results),
        tables.memory(results),
        tables.endurance(results),
        tables.starts(results),
        tables.transfers(results),
        tables.compared(results),
        *sizing.measured(results),
        *(tables.verdicts(results, label) for label in tables.our_labels(results)),
    ]
    parts = [
        "\n".join([*heading(results), "", *LEGEND]),
        *(table.as_text() for table in loads),
        "\n".join(tables.handshakes(results)),
        *(table.as_text() for table in rest if table.rows),
        "\n".join(f"note: {note}" for note in results.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def heading(results: Results) -> list[str]:
    """When, where, how, and with what."""
    machine, cores = results.machine, results.cores
    front, load = (", ".join(map(str, each)) for each in (cores.front, cores.load))
    return [
        f"{results.date}: {results.rounds} interleaved rounds of {results.seconds} s, in all {results.took:.0f} s",
        f"{machine.processor}, {machine.cores} cores: front on {front}, load and app on {load}",
        f"Linux {machine.kernel}, load average {machine.load_average:.2f} at the start",
        ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items())),
    ]
