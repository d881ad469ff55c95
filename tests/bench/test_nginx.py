"""nginx's log as a witness."""

from bench.nginx import Handshakes, handshakes


def test_handshakes_are_counted_by_the_last_field() -> None:
    """What a client writes into its own fields is not counted."""
    log = (
        '127.0.0.1 - - [now] "GET /1 HTTP/1.1" 200 1 "-" "-" resumed=.\n'
        '127.0.0.1 - - [now] "GET /1 HTTP/1.1" 200 1 "-" "resumed=." resumed=r\n'
    )
    assert handshakes(log) == Handshakes(full=1, resumed=1)
