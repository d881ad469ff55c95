"""The side-by-side bench: tlsproxy beside nginx, haproxy, caddy and a plain aiohttp proxy, by `python -m bench`.

In tcp mode it stands beside hitch and stunnel, which do nothing else, and haproxy. Peers that are not installed are
named and left out.

What is measured, and why it can be trusted:

- Each front in turn has one core; load generator and app share another. Same certificate, app and load.
- The yardstick is the CPU time (user and system) of the front's processes for each request answered. Requests
  a second stand beside it, but a load generator that is full hides differences, and the report says when.
- Rounds are interleaved (A B C A B C). A ratio is taken within a round, between neighbours in time; the table
  shows the median over the rounds with the lowest and highest.
- Connections that a load is not about are opened before it begins. Latency is taken at a constant rate, from when a
  request was due (`generator/courses.py`).
- Before a front is measured it is asked for each answer once, over a verified connection, and the answer is
  compared byte by byte.
"""
