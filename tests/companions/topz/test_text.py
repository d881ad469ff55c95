"""Snapshots and processes as text, as a terminal shows it."""

from dataclasses import replace

from tests.companions.topz.snapshots import NOTHING, PROCESSES, SNAPSHOT
from tlsproxy.companions.topz.detail import Detail, Socket
from tlsproxy.companions.topz.question import parse_question
from tlsproxy.companions.topz.rows import choose
from tlsproxy.companions.topz.text import render, render_detail

SHOWN = """\
legacy-app-7d4b, 2023-11-15T22:13:20Z: 6 processes in 3 containers, CPU over 5.0 s
machine: 4 CPUs, load 0.50 0.25 0.10, memory 16.0G, available 12.0G, pressure cpu 1.5%

CONTAINER  ID            PROCS  THR  CPU%  CPU LIMIT  THROTTLED%  MEMORY  LIMIT  MEM%    RSS    PSS  OOM  PRESSURE
app        0123456789ab      3   11  99.8        1.5        40.0   76.3M   128M  59.6  66.8M  52.5M    1  cpu 12.5%
tlsproxy   ba9876543210      1    2   1.0          -           -       -      -     -  28.6M      -    -  -
pause      ffffffffffff      1    1   0.0          -           -       -      -     -   684K   9.8K    -  -

PID  USER   STATE     THR  CPU%     TIME  MEM%    RSS    PSS       START  CONTAINER  COMMAND
  1  65535  sleeping    1   0.0  0:00.01   0.1   684K   9.8K  2023-11-14  pause      /pause
  7  app    sleeping    9  12.3  0:07.50  37.3  47.7M  38.1M    22:12:20  app        server --port 8080
  8  app    running     1  87.5  1:40.00  14.9  19.1M  14.3M    22:12:30  app        ├─ worker <b>&amp;
  9  app    zombie      1   0.0  0:00.50     -      -      -    22:12:40  app        └─ [worker]
 20  root   sleeping    2   1.0  1:00:00   0.1  28.6M      -    22:12:20  tlsproxy   tlsproxy
 30  -      -           -     -        -     -      -      -           -  -          -
"""


def test_everything() -> None:
    """Columns are aligned, numbers to the right; what is not known is a dash."""
    assert render(SNAPSHOT, choose(SNAPSHOT, parse_question("tree=on&sort=pid"), 0)) == SHOWN


def test_what_is_left_out_is_told() -> None:
    """A table that is cut says so, and how to see all."""
    assert render(SNAPSHOT, choose(SNAPSHOT, parse_question("limit=2"), 0)).endswith("\n2 of 6; limit=0 shows all\n")


def test_nothing() -> None:
    """Of nothing the titles are shown."""
    shown = render(NOTHING, choose(NOTHING, parse_question(""), 0)).splitlines()
    assert shown[0] == "pod, 2023-11-15T22:13:20Z: 0 processes in 0 containers, CPU not measured yet"
    assert shown[1] == "machine: 1 CPU"
    assert shown[-1].startswith("PID  USER")
    alone = replace(NOTHING, processes=PROCESSES[-1:])
    assert "1 process in 0 containers" in render(alone, choose(alone, parse_question(""), 0))


DETAIL = """\
pid               7
parent            0
name              server
command           server --port 8080
container         app
state             sleeping
user              app
started           2023-11-15T22:12:20Z
threads           9
CPU               12.3 %, 0:07.50 since it began
CPU limit         1.5
memory            RSS 47.7M, PSS 38.1M, 37.3 %
memory limit      128M
executable        /app/server
directory         -
open files        12
sockets           1
nice              0
context switches  7 voluntary, 8 not
read and written  -, 1.5K
children          8 9
environment       1 variables

LIMIT                     SOFT  HARD
Max open files (files)    1024  4096

SOCKET  LOCAL         REMOTE  STATE
tcp     0.0.0.0:8080  -       listen

PATH=/bin
"""


def test_one_process() -> None:
    """What is known is told line by line, then tables."""
    container = SNAPSHOT.containers[0]
    detail = Detail(
        process=PROCESSES[1],
        container=container,
        children=(8, 9),
        executable="/app/server",
        open_files=12,
        nice=0,
        switches=(7, 8),
        written=1536,
        limits=(("Max open files (files)", "1024", "4096"),),
        socket_count=1,
        sockets=(Socket("tcp", "0.0.0.0:8080", "", "listen"),),
        environment={"PATH": "/bin"},
        environment_hint="1 variables",
    )
    assert render_detail(detail) == DETAIL.replace("(files)    1024", "(files)  1024").replace("LIMIT    ", "LIMIT  ")


def test_a_process_of_which_nothing_is_known() -> None:
    """Everything but its number is a dash."""
    shown = render_detail(Detail(PROCESSES[-1], None))
    assert shown.startswith("pid               30\nparent            -\n")
    assert "open files        -\n" in shown
    assert "LIMIT" not in shown
