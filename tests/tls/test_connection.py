"""TLS connections on loopback: what stands above is told the truth, once, and so is the client."""

import asyncio
import ctypes
import gc
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import uvloop

from tests.tls.loopback import (
    CLOSE_TIMEOUT,
    HANDSHAKE_TIMEOUT,
    PLAIN,
    Client,
    Scene,
    Upper,
    serving,
    staged,
    trustful,
    turns,
)
from tests.tls.material import Request, until
from tests.tls.test_clients import BELOW, MIDDLE, listener, showing
from tlsproxy.tls.clients import Clients
from tlsproxy.tls.connection import _FAILURES, _PUT_OFF_SLICE, _READ_SLICE, DENIAL_REASONS, FAILURE_REASONS, Connection
from tlsproxy.tls.context import withhold_tickets

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
KILOBYTE, MEGABYTE = 1 << 10, 1 << 20
AES_128_SHA, TLS_NULL = 0x002F, 0x0000
PROTOCOL_VERSION, HANDSHAKE_FAILURE, UNEXPECTED_MESSAGE, DECODE_ERROR = b"\x46", b"\x28", b"\x0a", b"\x32"
LINGER = 2
FORGED = b"\x17\x03\x03\x00\x40" + b"x" * 64
NUMBERS = b"".join(b"%7d\n" % number for number in range(MEGABYTE // 8))
# For a client that does not read: more than the kernel's buffers take.
TOO_MUCH = bytes(10 * MEGABYTE)
REASONS = {
    *("bad_certificate", "certificate_required", "no_shared_cipher", "no_shared_group", "no_shared_signature"),
    *("not_tls", "other", "plain_http", "refused_by_client", "reset", "timeout", "unknown_ca", "unsupported_protocol"),
    "unrecognized_name",
}

both_versions = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


SHARE = "tlsproxy.tls.connection._SHARE"


@pytest.fixture(autouse=True)
def leisurely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the machine does, a connection's share of a turn lasts for all that it sends."""
    monkeypatch.setattr(SHARE, 60.0)


@pytest.fixture
def hasty(leisurely: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection's share of a turn is over with the first slice."""
    monkeypatch.setattr(SHARE, 0.0)


def client_hello(version: int, cipher: int) -> bytes:
    """One without extensions."""
    body = struct.pack(">H32xBHHBB", version, 0, 2, cipher, 1, 0)
    return b"\x16\x03\x01" + struct.pack(">H", len(body) + 4) + b"\1" + len(body).to_bytes(3, "big") + body


# ---------------------------------------------------------------------------- what comes


@staged
async def test_the_last_flight_may_be_cut_anywhere(scene: Scene) -> None:
    """Wherever TCP cuts the client's Finished and the data behind it, the data arrives."""
    for cut in count():
        client, connection = await scene.arrive()
        said = await client.shake() + client.seal(b"early")
        connection.data_received(said[:cut])
        connection.data_received(said[cut:])
        await until(lambda: b"".join(scene.uppers[-1].pieces) == b"early")
        client.writer.transport.abort()
        if cut == len(said):
            break


@both_versions
@staged
async def test_a_record_may_be_cut_anywhere(scene: Scene, version: ssl.TLSVersion) -> None:
    """Wherever TCP cuts two records, they arrive whole and in order."""
    client, upper = await scene.connect(trustful(version))
    for cut in count():
        said = client.seal(b"one") + client.seal(b"two")
        upper.transport.data_received(said[:cut])
        upper.transport.data_received(said[cut:])
        assert b"".join(upper.pieces) == b"onetwo", cut
        upper.pieces.clear()
        if cut == len(said):
            break


@both_versions
@staged
async def test_one_read_is_one_piece(scene: Scene, version: ssl.TLSVersion) -> None:
    """All whole records of a read are handed on at once, in order; the rest of a record waits for its end."""
    client, upper = await scene.connect(trustful(version))
    data = NUMBERS[: 256 * KILOBYTE]
    said = client.seal(data, record=1000)
    upper.transport.data_received(said[:-1])
    (piece,) = upper.pieces
    assert piece == data[: len(data) // 1000 * 1000]
    upper.transport.data_received(said[-1:])
    assert b"".join(upper.pieces) == data


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("record", [1, 10])
@staged
async def test_many_small_records_give_way(scene: Scene, record: int) -> None:
    """Others have their turn when a share is over, and soon again; all arrive in order, before the end.

    With ten bytes in each, records end where slices do.
    """
    client, upper = await scene.connect()
    said = client.seal(NUMBERS[: 4000 * record], record) + client.goodbye()
    upper.transport.data_received(said)
    for known in range(1, 4000):
        assert len(upper.pieces) <= known
        assert len(upper.pieces[-1]) < (_READ_SLICE if known == 1 else _PUT_OFF_SLICE) / 20 * record
        if upper.told != ["made"]:
            break
        await turns(1)
    assert upper.told == ["made", "eof"]
    assert b"".join(upper.pieces) == NUMBERS[: 4000 * record]


@pytest.mark.usefixtures("hasty")
@staged
async def test_small_records_behind_a_handshake_give_way(scene: Scene) -> None:
    """What comes in one read with a handshake's end has no more of that turn than what comes later."""
    client, below = await scene.arrive()
    below.data_received(await client.shake() + client.seal(NUMBERS[:4000], 1))
    assert 0 < len(b"".join(scene.uppers[0].pieces)) < _READ_SLICE / 10
    await until(lambda: b"".join(scene.uppers[0].pieces) == NUMBERS[:4000])


@pytest.mark.usefixtures("hasty")
@staged
async def test_small_records_that_gave_way_wait_for_a_pause_to_end(scene: Scene) -> None:
    """The upper that pauses reading gets nothing until it resumes, and then goes on where it was, in turns."""
    client, upper = await scene.connect()
    scene.on_data = Connection.pause_reading
    upper.transport.data_received(client.seal(NUMBERS[:4000], 1))
    client.write(client.seal(b"behind"))
    for known in range(1, 4):
        await turns()
        assert len(upper.pieces) == known
        upper.transport.resume_reading()
        upper.transport.resume_reading()
    scene.on_data = lambda _: None
    await until(lambda: b"".join(upper.pieces) == NUMBERS[:4000] + b"behind")


@pytest.mark.usefixtures("hasty")
@staged
async def test_a_failure_behind_records_that_gave_way_is_the_end(scene: Scene) -> None:
    """What fails above in a later turn cuts the connection, as the loop does in the first."""
    client, upper = await scene.connect()

    def exhausted(_: Connection) -> None:
        if len(upper.pieces) > 1:
            raise MemoryError

    scene.on_data = exhausted
    upper.transport.data_received(client.seal(NUMBERS[:4000], 1))
    assert await upper.lost() == ["made", "lost"]
    assert isinstance(scene.errors.pop()["exception"], MemoryError)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("end", [Connection.close, Connection.abort])
@staged
async def test_nothing_is_told_behind_an_end_of_what_gave_way(scene: Scene, end: Callable[[Connection], None]) -> None:
    """Who ends the connection before the turn of what is left gets none of it."""
    client, upper = await scene.connect()
    scene.on_data = end
    upper.transport.data_received(client.seal(NUMBERS[:4000], 1))
    await upper.lost()
    assert len(upper.pieces) == 1


@pytest.mark.parametrize("end", [Connection.close, Connection.abort])
@staged
async def test_nothing_is_told_behind_an_end(scene: Scene, end: Callable[[Connection], None]) -> None:
    """When the upper ends the connection on a piece, neither close_notify nor data behind it is told."""
    client, upper = await scene.connect()
    scene.on_data = end
    said = client.seal(NUMBERS[: 100 * KILOBYTE]) + client.goodbye()
    upper.transport.data_received(said)
    upper.transport.data_received(FORGED)
    assert await upper.lost() == ["made", "lost"]
    assert upper.pieces == [NUMBERS[: 100 * KILOBYTE]]


@staged
async def test_paused_reading_tells_nothing(scene: Scene) -> None:
    """Between pause_reading and resume_reading the upper gets nothing, and all of it afterwards."""
    client, upper = await scene.connect()
    upper.transport.pause_reading()
    client.write(client.seal(b"later"))
    await turns()
    assert upper.pieces == []
    upper.transport.resume_reading()
    await until(lambda: upper.pieces == [b"later"])


# ---------------------------------------------------------------------------- what is sent


@both_versions
@staged
async def test_what_is_written_arrives(scene: Scene, version: ssl.TLSVersion) -> None:
    """Writes of any size, of bytes and their like, arrive in order; an empty one is none."""
    client, upper = await scene.connect(trustful(version))
    upper.transport.write(b"")
    for start, end in ((0, 1), (1, 32 * KILOBYTE), (32 * KILOBYTE, 65 * KILOBYTE + 1), (65 * KILOBYTE + 1, MEGABYTE)):
        upper.transport.write(memoryview(NUMBERS)[start:end])
    upper.transport.write(bytearray(b"end"))
    upper.transport.close()
    assert await client.rest() == NUMBERS + b"end"


@staged
async def test_a_slow_client_is_told_of(scene: Scene) -> None:
    """The plain transport's pause_writing and resume_writing reach the upper."""
    client, upper = await scene.connect()
    upper.transport.write(TOO_MUCH)
    await until(lambda: upper.told == ["made", "pause"])
    received = 0
    while received < len(TOO_MUCH):
        received += len(await client.read())
    await until(lambda: upper.told == ["made", "pause", "resume"])


@staged
async def test_little_is_kept(scene: Scene) -> None:
    """After a megabyte each way a connection holds no data, and its buffers have not grown with it."""
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("this C library does not tell what is allocated")
    client, upper = await scene.connect()
    for start in range(0, MEGABYTE, 256 * KILOBYTE):
        upper.transport.data_received(client.seal(NUMBERS[start : start + 256 * KILOBYTE]))
    upper.transport.write(NUMBERS)
    upper.transport.close()
    assert len(await client.rest(client.raw)) > MEGABYTE
    await upper.lost()
    assert upper.transport._incoming.pending == upper.transport._outgoing.pending == 0
    upper.pieces.clear()
    await turns()
    gc.collect()
    before = allocated()
    del upper.transport
    scene.connections.clear()
    gc.collect()
    assert before - allocated() < 150 * KILOBYTE


def allocated() -> int:
    """Bytes that the C library has given out (mallinfo2(3): arena to keepcost, ten of size_t)."""

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "mapped", "f", "g", "used", "i", "j")]

    tell = ctypes.CDLL(None).mallinfo2
    tell.restype = Info
    info = tell()
    return int(info.mapped + info.used)


# ---------------------------------------------------------------------------- the end, from our side


@both_versions
@staged
async def test_write_eof_ends_one_direction(scene: Scene, version: ssl.TLSVersion) -> None:
    """After write_eof the client has close_notify and FIN, later writes are dropped, and reading goes on."""
    client, upper = await scene.connect(trustful(version))
    assert upper.transport.can_write_eof()
    scene.on_data, scene.keep_open = Connection.write_eof, 0
    client.write(client.seal(b"question"))
    await until(lambda: bool(upper.pieces))
    upper.transport.write(b"dropped")
    upper.transport.write_eof()
    assert await client.rest() == b""
    assert client.ended == "close_notify"
    client.write(client.seal(NUMBERS[: 100 * KILOBYTE]))
    await until(lambda: b"".join(upper.pieces) == b"question" + NUMBERS[: 100 * KILOBYTE])
    client.write(client.goodbye())
    assert await upper.lost() == ["made", "eof", "lost"]


@both_versions
@staged
async def test_close_says_goodbye(scene: Scene, version: ssl.TLSVersion) -> None:
    """What was written before close arrives, then close_notify, then FIN; what is written after it is dropped."""
    client, upper = await scene.connect(trustful(version))
    upper.transport.write(NUMBERS)
    upper.transport.close()
    upper.transport.write(b"dropped")
    assert upper.transport.is_closing()
    assert await client.rest() == NUMBERS
    assert client.ended == "close_notify"
    await upper.lost()


@pytest.mark.parametrize("end", [Connection.close, Connection.abort])
@staged
async def test_the_end_may_come_in_a_write(
    scene: Scene, end: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upper that ends the connection when it is told that the client is slow ends its own write with it."""
    client, upper = await scene.connect()
    monkeypatch.setattr(upper, "pause_writing", lambda: end(upper.transport))
    upper.transport.write(TOO_MUCH)
    await until(upper.transport.is_closing)
    scene.later(CLOSE_TIMEOUT + 1)
    assert await upper.lost() == ["made", "lost"]
    assert len(await client.rest(client.raw)) < len(TOO_MUCH)


@staged
async def test_abort_says_none(scene: Scene) -> None:
    """After abort there is no close_notify: the client can't take what it has for the whole."""
    client, upper = await scene.connect()
    upper.transport.write(NUMBERS)
    upper.transport.abort()
    upper.transport.write(b"dropped")
    assert upper.transport.is_closing()
    assert NUMBERS.startswith(await client.rest())
    assert client.ended in ("fin", "reset")
    await upper.lost()


@staged
async def test_abort_has_a_deadline(scene: Scene) -> None:
    """A client that does not read has a moment, which is not prolonged by aborting again."""
    _, upper = await scene.connect()
    upper.transport.write(TOO_MUCH)
    upper.transport.abort()
    deadline = upper.transport.deadline
    upper.transport.abort()
    assert upper.transport.deadline == pytest.approx(deadline, abs=1e-4)
    upper.transport.deadline = deadline - LINGER
    upper.transport.abort()
    scene.later(0)
    assert await upper.lost() == ["made", "pause", "lost"]


@contextmanager
def uncollected() -> Iterator[None]:
    """What is in a cycle stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@staged
async def test_nothing_is_left_of_it(scene: Scene) -> None:
    """A connection that has ended is freed at once: OpenSSL's buffers do not wait for a collection."""
    scene.keep_open = 0
    with uncollected():
        client, upper = await scene.connect()
        client.write(client.goodbye())
        await upper.lost()
        await turns()
        del upper.transport
        scene.connections.clear()
        assert not any(isinstance(left, Connection) for left in gc.get_objects())


@staged
async def test_nothing_happens_after_the_end(scene: Scene) -> None:
    """Whatever the upper asks of a connection that has ended is passed over."""
    client, upper = await scene.connect()
    client.writer.transport.abort()
    await upper.lost()
    await turns()
    connection = upper.transport
    connection.write(b"x" * MEGABYTE)
    for ask in ("write_eof", "close", "abort", "pause_reading", "resume_reading"):
        getattr(connection, ask)()
    assert connection.is_closing()


# ---------------------------------------------------------------------------- the end, from the client's side


@pytest.mark.parametrize("keep_open", [1, 0])
@both_versions
@staged
async def test_close_notify_ends_one_direction(scene: Scene, version: ssl.TLSVersion, keep_open: int) -> None:
    """close_notify is eof_received, told once; the connection closes unless the upper says True."""
    scene.keep_open = keep_open
    client, upper = await scene.connect(trustful(version))
    client.write(client.seal(b"question") + client.goodbye())
    await until(lambda: upper.told[:2] == ["made", "eof"])
    assert upper.pieces == [b"question"]
    upper.transport.write(b"answer")
    upper.transport.close()
    assert await client.rest() == (b"answer" if keep_open else b"")
    assert client.ended == "close_notify"
    assert await upper.lost() == ["made", "eof", "lost"]


@staged
async def test_close_notify_is_told_once(scene: Scene) -> None:
    """Whatever a client sends after its close_notify, the upper is told neither of that nor of the end again."""
    client, upper = await scene.connect()
    upper.transport.data_received(client.goodbye())
    upper.transport.data_received(FORGED)
    assert upper.told == ["made", "eof"]
    assert upper.pieces == []


@both_versions
@staged
async def test_what_comes_behind_close_notify_is_ignored(scene: Scene, version: ssl.TLSVersion) -> None:
    """Neither garbage nor a second goodbye in a later packet costs the answer (RFC 8446 section 6.1)."""
    client, upper = await scene.connect(trustful(version))
    client.write(client.seal(b"question") + client.goodbye())
    await until(lambda: upper.told == ["made", "eof"])
    for more in (FORGED, b"garbage", FORGED):
        client.write(more)
        await turns()
    for _ in range(20):
        upper.transport.data_received(bytes(64 * 1024))
    assert upper.transport._incoming.pending < 64 * 1024
    upper.transport.write(b"answer")
    upper.transport.close()
    assert await client.rest() == b"answer"
    assert client.ended == "close_notify"
    assert await upper.lost() == ["made", "eof", "lost"]


@staged
async def test_the_end_is_told_even_where_memory_has_run_out(scene: Scene) -> None:
    """What fails while the place is given back keeps neither what stands above nor its connection to the app."""
    client, upper = await scene.connect()
    given_back = scene.acceptor.ended

    def exhausted() -> None:
        given_back()
        raise MemoryError

    scene.acceptor.ended = exhausted
    client.reset()
    assert await upper.lost() == ["made", "lost"]
    await until(lambda: len(scene.errors) == 1)
    assert isinstance(scene.errors.pop()["exception"], MemoryError)


@staged
async def test_no_memory_for_a_context_keeps_no_place(scene: Scene) -> None:
    """A connection that could not begin is cut in time, and its place is given back."""

    def exhausted() -> ssl.SSLContext:
        raise MemoryError

    scene.acceptor.context = exhausted
    await scene.arrive()
    await until(lambda: len(scene.errors) == 1)
    assert isinstance(scene.errors.pop()["exception"], MemoryError)
    scene.later(HANDSHAKE_TIMEOUT + 1)
    await until(lambda: scene.open == 0)


@pytest.mark.parametrize("polite", [True, False], ids=["close_notify", "bare"])
@both_versions
@staged
async def test_fin_is_the_end(scene: Scene, version: ssl.TLSVersion, polite: bool) -> None:
    """The end of the TCP connection is told at once, however much is still to be sent."""
    client, upper = await scene.connect(trustful(version))
    upper.transport.write(TOO_MUCH)
    client.write(client.goodbye() if polite else b"")
    client.writer.write_eof()
    assert await upper.lost() == ["made", "pause", *(["eof", "eof"] if polite else []), "lost"]
    assert upper.lost_with is None
    assert upper.transport.is_closing()


@both_versions
@staged
async def test_fin_behind_close_notify_may_be_outlived(scene: Scene, version: ssl.TLSVersion) -> None:
    """What stands above is asked again at TCP's end, and may go on speaking to a client that only listens."""
    scene.keep_open = 2
    client, upper = await scene.connect(trustful(version))
    client.write(client.goodbye())
    client.writer.write_eof()
    await until(lambda: upper.told == ["made", "eof", "eof"])
    upper.transport.write(b"the last word")
    upper.transport.close()
    assert await client.rest() == b"the last word"
    assert client.ended == "close_notify"


@staged
async def test_another_protocol_takes_over(scene: Scene) -> None:
    """set_protocol puts another one above, which gets what comes from then on."""
    client, upper = await scene.connect()
    heir = Upper(scene)
    heir.transport = upper.transport
    assert upper.transport.get_protocol() is upper
    upper.transport.set_protocol(heir)
    assert upper.transport.get_protocol() is heir
    client.write(client.seal(b"hello"))
    await until(lambda: heir.pieces == [b"hello"])
    upper.transport.set_protocol(upper)
    client.reset()
    assert await upper.lost() == ["made", "lost"]
    assert heir.told == []


@staged
async def test_a_reset_is_told_with_its_error(scene: Scene) -> None:
    """connection_lost gets the plain transport's exception."""
    client, upper = await scene.connect()
    client.reset()
    assert await upper.lost() == ["made", "lost"]
    assert isinstance(upper.lost_with, ConnectionResetError)


@pytest.mark.parametrize("end", [Connection.write_eof, Connection.close, Connection.abort])
@staged
async def test_a_failed_write_is_the_end(scene: Scene, end: Callable[[Connection], None]) -> None:
    """A reset that is found by writing is told like any other, and the upper may go on asking until it is told."""
    client, upper = await scene.connect()
    upper.transport.pause_reading()
    client.reset()
    await turns()
    for _ in range(2):
        upper.transport.write(b"into the void")
    end(upper.transport)
    assert await upper.lost() == ["made", "lost"]


@pytest.mark.parametrize("half_closed", [False, True])
@both_versions
@staged
async def test_a_forged_record_is_the_end(scene: Scene, version: ssl.TLSVersion, half_closed: bool) -> None:
    """What came before it is handed on, and it is no orderly end; the client has an alert, or a moment to read on."""
    client, upper = await scene.connect(trustful(version))
    if half_closed:
        upper.transport.write_eof()
    client.write(client.seal(b"good") + FORGED)
    assert await upper.lost() == ["made", "lost"]
    assert upper.pieces == [b"good"]
    assert isinstance(upper.lost_with, ssl.SSLError)
    if half_closed:
        assert upper.transport in scene.acceptor.timed
        scene.later(LINGER + 1)
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            await client.rest()


# ---------------------------------------------------------------------------- deadlines


@pytest.mark.parametrize("said", [b"", client_hello(0x0303, AES_128_SHA)[:20]], ids=["nothing", "half a hello"])
@staged
async def test_a_handshake_has_a_deadline(scene: Scene, said: bytes) -> None:
    """A handshake that isn't over in time is cut, and counted as a timeout, not as a reset."""
    client, connection = await scene.arrive()
    client.write(said)
    await until(lambda: connection._begun == bool(said))
    assert scene.acceptor.shaking == 1
    scene.later(HANDSHAKE_TIMEOUT - 1)
    assert scene.acceptor.failures == {}
    scene.later(HANDSHAKE_TIMEOUT + 1)
    assert await client.rest(client.raw) == b""
    await until(lambda: not scene.acceptor.timed)
    assert scene.acceptor.failures == {"timeout": 1}
    assert scene.acceptor.shaking == 0


@staged
async def test_an_open_connection_has_no_deadline(scene: Scene) -> None:
    """After the handshake time is the upper's affair."""
    client, upper = await scene.connect()
    scene.later(1e6)
    client.write(client.seal(b"still here"))
    await until(lambda: upper.pieces == [b"still here"])


@staged
async def test_closing_has_a_deadline(scene: Scene) -> None:
    """A client that does not read what was written before close is cut after close_timeout."""
    _, upper = await scene.connect()
    upper.transport.write(TOO_MUCH)
    upper.transport.close()
    scene.later(CLOSE_TIMEOUT - 1)
    await turns()
    assert upper.told == ["made", "pause"]
    scene.later(CLOSE_TIMEOUT + 1)
    assert await upper.lost() == ["made", "pause", "lost"]


@pytest.mark.parametrize("last", [b"", FORGED], ids=["fin", "broken record"])
@staged
async def test_leaving_without_reading_has_a_deadline(scene: Scene, last: bytes) -> None:
    """A client that sends no more, or nothing but rubbish, is told of at once, and cut after close_timeout."""
    client, upper = await scene.connect()
    upper.transport.write(TOO_MUCH)
    client.write(last)
    if not last:
        client.writer.write_eof()
    await until(lambda: "closed" in repr(upper.transport))
    assert upper.told[-1] == "lost"
    assert upper.transport in scene.acceptor.timed
    scene.later(CLOSE_TIMEOUT - 1)
    await turns()
    assert upper.transport in scene.acceptor.timed
    scene.later(CLOSE_TIMEOUT + 1)
    await upper.lost()
    await until(lambda: not scene.acceptor.timed)
    assert len(await client.rest(client.raw)) < len(TOO_MUCH)


# ---------------------------------------------------------------------------- failed handshakes


@pytest.mark.parametrize(
    ("said", "reason", "told"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "plain_http", PLAIN),
        (b"CONNECT h:443 HTTP/1.1\r\n\r\n", "plain_http", PLAIN),
        (b"\x00" * 50, "not_tls", b""),
        (b"\r\n" * 25, "not_tls", b""),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "not_tls", UNEXPECTED_MESSAGE),
        (client_hello(0x0302, AES_128_SHA), "unsupported_protocol", PROTOCOL_VERSION),
        (client_hello(0x0303, TLS_NULL), "no_shared_cipher", HANDSHAKE_FAILURE),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "other", DECODE_ERROR),
    ],
    ids=["GET", "CONNECT", "zeros", "newlines", "server_hello", "tls_1_1", "null_cipher", "broken_hello"],
)
@staged
async def test_a_failure_is_counted_and_told(scene: Scene, said: bytes, reason: str, told: bytes) -> None:
    """Each failed handshake has its reason; the client gets an alert, or plain HTTP in answer to plain HTTP."""
    client, connection = await scene.arrive()
    client.write(said)
    answer = await client.rest(client.raw)
    assert answer == told if told in (PLAIN, b"") else (answer[:1], answer[5:]) == (b"\x15", b"\x02" + told)
    client.write(b"the rest is thrown away")
    await turns()
    scene.later(LINGER - 1)
    assert repr(connection) == "<Connection leaving None>"
    assert scene.acceptor.shaking == 0
    scene.later(LINGER + 1)
    await until(lambda: not scene.acceptor.timed)
    assert scene.acceptor.failures == {reason: 1}


@both_versions
@pytest.mark.parametrize(("name", "reason"), [("localhost", "unknown_ca"), ("elsewhere", "refused_by_client")])
@staged
async def test_a_clients_alert_is_counted(scene: Scene, version: ssl.TLSVersion, name: str, reason: str) -> None:
    """A client that does not trust the certificate says so, and is counted by what it says."""
    if reason == "unknown_ca":
        tls = trustful(version, issued=Request().issue())
    else:
        certificate = Request(names=(name,)).issue()
        scene.context, tls = serving(certificate), trustful(version, certificate)
    client, _ = await scene.arrive(tls)
    client.write(await client.shake())
    await until(lambda: bool(scene.acceptor.failures))
    assert scene.acceptor.failures == {reason: 1}
    assert scene.uppers == []


@pytest.mark.parametrize("leave", [Client.reset, lambda client: client.writer.close()], ids=["reset", "fin"])
@staged
async def test_leaving_counts_only_after_a_word(scene: Scene, leave: Callable[[Client], None]) -> None:
    """A client that vanishes in its handshake is counted; one that only looked whether the port is open is not."""
    for said, failures in ((b"", {}), (b"\x16\x03", {"reset": 1})):
        client, connection = await scene.arrive()
        client.write(said)
        await until(lambda: connection._begun == bool(said))  # noqa: B023 - awaited here
        leave(client)
        await until(lambda: not scene.acceptor.timed)
        assert scene.acceptor.failures == failures


@staged
async def test_reasons_are_bounded(scene: Scene) -> None:
    """Whatever a client says, the reason is one of a few."""
    assert set(_FAILURES.values()) <= REASONS
    hello = client_hello(0x0303, AES_128_SHA)
    for place in range(len(hello)):
        client, connection = await scene.arrive()
        connection.data_received(hello[:place] + bytes([hello[place] ^ 0xFF]) + hello[place + 1 :])
        client.reset()
    await until(lambda: not scene.acceptor.timed)
    assert sum(scene.acceptor.failures.values()) == len(hello)
    assert set(scene.acceptor.failures) <= REASONS


# ---------------------------------------------------------------------------- what is told about it


@both_versions
@staged
async def test_what_was_agreed_can_be_asked(scene: Scene, version: ssl.TLSVersion) -> None:
    """get_extra_info has TLS's own values, and the plain transport's for all else."""
    client, upper = await scene.connect(trustful(version))
    ask = upper.transport.get_extra_info
    assert ask("cipher") == client.tls.cipher()
    assert ask("tls_version") == client.tls.version()
    assert ask("server_name") == "localhost"
    assert ask("peername") == client.writer.get_extra_info("sockname")
    assert isinstance(ask("ssl_object"), ssl.SSLObject)
    assert ask("no such thing", "default") == "default"


@staged
async def test_the_context_is_that_of_the_moment(scene: Scene) -> None:
    """Each connection takes the context that there is when it begins; those before keep theirs."""
    other = Request().issue()
    client, _ = await scene.arrive()
    scene.context = serving(other)
    await scene.connect(trustful(issued=other))
    client.write(await client.shake())
    await until(lambda: len(scene.uppers) == 2)
    assert scene.acceptor.failures == {}


@both_versions
@staged
async def test_handshakes_are_counted(scene: Scene, version: ssl.TLSVersion) -> None:
    """By version, and by whether a session was resumed; failures by reason."""
    tls = trustful(version)
    first, upper = await scene.connect(tls)
    upper.transport.write(b"x")
    await first.read()
    session = first.tls.session
    second, _ = await scene.arrive(tls)
    second.tls.session = session
    second.write(await second.shake())
    await until(lambda: len(scene.uppers) == 2)
    client, _ = await scene.arrive()
    client.write(b"GET /")
    await client.raw()
    handshakes, failures, _ = scene.acceptor.measures()
    assert (handshakes.name, handshakes.labels) == ("tlsproxy_handshakes_total", ("version", "resumed"))
    name = version.name.replace("_", ".")
    assert handshakes.samples == {(name, "no"): 1, (name, "yes"): 1}
    assert (failures.name, failures.labels) == ("tlsproxy_handshake_failures_total", ("reason",))
    assert {reason: count for reason, count in failures.samples.items() if count} == {("plain_http",): 1}
    assert {handshakes.kind, failures.kind} == {"counter"}


@staged
async def test_reasons_are_counted_from_zero(scene: Scene) -> None:
    """A counter that comes with its first event shows no increase for it."""
    counts = {measure.name: measure.samples for measure in scene.acceptor.measures()}
    assert counts["tlsproxy_handshake_failures_total"] == {(reason,): 0 for reason in FAILURE_REASONS}
    assert counts["tlsproxy_clients_denied_total"] == {(reason,): 0 for reason in DENIAL_REASONS}


@staged
async def test_a_session_whose_client_is_forgotten_ends_for_good(scene: Scene, tmp_path: Path) -> None:
    """Nothing stands above it, it is counted, and the client's next handshake is a whole one."""
    scene.context, tls = listener(), showing(BELOW, tmp_path, MIDDLE)
    tls.maximum_version = V12
    withhold_tickets(scene.context)
    scene.acceptor.clients = Clients("required", chain=True)
    first, upper = await scene.connect(tls)
    assert upper.transport.caller is not None
    scene.acceptor.clients = Clients("required", chain=True)
    second, _ = await scene.arrive(tls)
    second.tls.session = first.tls.session
    second.write(await second.shake())
    assert await second.rest(second.raw) == b""
    assert second.tls.session_reused
    assert scene.acceptor.failures == {"session_forgotten": 1}
    assert len(scene.uppers) == 1
    scene.connections.pop()
    third, _ = await scene.arrive(tls)
    third.tls.session = first.tls.session
    third.write(await third.shake())
    await until(lambda: len(scene.uppers) == 2)
    assert not third.tls.session_reused


@staged
async def test_it_tells_its_state(scene: Scene) -> None:
    """repr shows the state and what stands above."""
    client, connection = await scene.arrive()
    assert repr(connection) == "<Connection handshake None>"
    client.write(await client.shake())
    await until(lambda: bool(scene.uppers))
    assert repr(connection) == "<Connection open <Upper>>"
    connection.close()
    assert repr(connection) == "<Connection closed <Upper>>"
    await scene.uppers[0].lost()
    assert repr(connection) == "<Connection closed None>"
