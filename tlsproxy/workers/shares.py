"""Limits that hold over all workers: each has a share of its own, and the shares add up to the limit exactly. Pure.

A worker does not know how full the others are, so one can be at its share while another has room; nginx's
`worker_connections` are the same. Counting together would cost a lock for each connection.
"""


def fitting(workers: int, *limits: int) -> int:
    """As many of the workers as each can have at least one of every limit.

    Args:
        workers: how many are wanted, at least 1.
        limits: 0: there is none.
    """
    return min((workers, *(limit for limit in limits if limit)))


def share(limit: int, workers: int, place: int) -> int:
    """What one worker may have of a limit; the first ones get what is left over.

    Args:
        limit: at least `workers`, or 0: there is none, for nobody.
        workers: how many there are.
        place: which of them, from 0.
    """
    return limit // workers + (place < limit % workers)
