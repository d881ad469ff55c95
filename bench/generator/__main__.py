"""`python -m bench.generator TASK`: see the package."""

import ctypes
import gc
import json
import sys

from bench.generator.clients import Watch, open_clients
from bench.generator.courses import Traffic, closed_loop, constant_rate, listen
from bench.generator.percentiles import summary
from bench.generator.task import Counts, Task

# prctl(2): how much later than asked for a sleep may end. The default is 50 us, much of a small request's latency.
PR_SET_TIMERSLACK = 29


def main(task: Task) -> None:
    """Opens, says that it is ready, and makes the load for each line, which is the number of seconds."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    watch = Watch()
    traffic = Traffic(open_clients(task), watch)
    gc.freeze()
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(figures(run(task, traffic, float(line)))), flush=True)


def run(task: Task, traffic: Traffic, seconds: float) -> Counts:
    """The load itself."""
    if task.kind == "events":
        return listen(traffic, task.rate, seconds)
    if task.rate:
        return constant_rate(traffic, task.rate, seconds)
    return closed_loop(traffic, task.in_flight, seconds)


def figures(counts: Counts) -> dict[str, object]:
    """What the bench reads (`loads.read_tally`)."""
    return {
        "requests": counts.answered,
        "microseconds": round(counts.seconds * 1e6),
        "refused": 0,
        "broken": counts.broken,
        "resumed": None,
        "latency": summary(counts.latencies),
        "late": summary(counts.late),
    }


if __name__ == "__main__":
    main(Task.from_json(sys.argv[1]))
