"""The bench's own load generator: keep-alive connections on one epoll, for what wrk can't do.

A process of its own, `python -m bench.generator TASK`, with the task as JSON (`task.py`). It opens all connections,
has one answer over each, and prints `ready`; so no handshake is among the figures. Each line on its standard input is a
number of seconds: it makes the load for so long and prints the figures as one line of JSON. The end of input ends it.
It knows nothing of fronts and reads no books of the kernel.
"""
