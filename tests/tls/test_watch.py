"""tlsproxy/tls/watch.py: the real watch on real directories."""

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import uvloop

from tests.tls.material import Request, put, serial, unprivileged, until
from tlsproxy.tls import files
from tlsproxy.tls.catalogue import Catalogue
from tlsproxy.tls.steps import HOLD, Steps
from tlsproxy.tls.store import Reload, Store
from tlsproxy.tls.watch import LATE, Watch

NEVER = 3600.0
NOTICED = 2.0
LOGGER = "tlsproxy.certificates"
Pair = tuple[bytes, bytes]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[None, None, None]], None]:
    """Runs a coroutine on each of the two loops."""

    def runner(main: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(main)

    return runner


Run = Callable[[Coroutine[None, None, None]], None]


def served(store: Store) -> str:
    assert store.generation is not None
    return store.generation.certificate.serial


@contextlib.asynccontextmanager
async def watching(
    directory: Path,
    resync: float = NEVER,
    watched: Callable[[], Steps[frozenset[Path]]] | None = None,
    rotated: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[Store, Watch]]:
    """A store under watch; leaving takes a fraction of a second or fails."""
    store = Store("tls", partial(files.find, directory, "tls"), "intermediate")
    certificates = Catalogue("tls", lambda _: ("tls",), lambda _: store, "intermediate")
    certificates.load()
    watch = Watch(certificates, watched or partial(files.directories, directory, "tls"), resync, rotated)
    task = asyncio.create_task(watch.run())
    try:
        yield store, watch
    finally:
        start = time.monotonic()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < 0.5


def secret(directory: Path, version: str, pair: Pair) -> None:
    """Mount or change a Secret as kubelet does: a new directory, and `..data` renamed onto it."""
    data = directory / f"..{version}"
    put(data, pair)
    draft = directory / "..data_tmp"
    draft.symlink_to(data.name)
    draft.rename(directory / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


def test_a_secrets_swap_is_noticed_each_time(tmp_path: Path, run: Run) -> None:
    """kubelet's swap of `..data` is served within two seconds, again and again, without a resync."""

    async def main() -> None:
        directory = tmp_path / "tls"
        directory.mkdir()
        secret(directory, "0", Request().issue().pair)
        async with watching(tmp_path) as (store, _):
            for version in ("1", "2", "3"):
                pair = Request().issue().pair
                secret(directory, version, pair)
                await until(lambda: served(store) == serial(pair), NOTICED)  # noqa: B023  # awaited at once
        assert store.reloads == {"loaded": 4}

    run(main())


def test_a_plain_overwrite_is_noticed(tmp_path: Path, run: Run) -> None:
    """Files overwritten in place, one after the other, are served without an error between them."""

    async def main() -> None:
        put(tmp_path, Request().issue().pair)
        async with watching(tmp_path) as (store, _):
            pair = Request().issue().pair
            (tmp_path / "tls.crt").write_bytes(pair[0])
            await asyncio.sleep(0.3)
            (tmp_path / "tls.key").write_bytes(pair[1])
            await until(lambda: served(store) == serial(pair), NOTICED)
            assert store.reloads == {"loaded": 2}
            assert store.error is None

    run(main())


def test_certbots_links_are_noticed(tmp_path: Path, run: Run) -> None:
    """A link in live/ that is pointed to another file of archive/ is served."""

    async def main() -> None:
        live, archive = tmp_path / "live" / "tls", tmp_path / "archive" / "tls"
        live.mkdir(parents=True)
        archive.mkdir(parents=True)
        renew(live, archive, 1, Request().issue().pair)
        async with watching(live.parent) as (store, _):
            pair = Request().issue().pair
            renew(live, archive, 2, pair)
            await until(lambda: served(store) == serial(pair), NOTICED)

    run(main())


def renew(live: Path, archive: Path, number: int, pair: Pair) -> None:
    for name, content in zip(("fullchain", "privkey"), pair, strict=True):
        (archive / f"{name}{number}.pem").write_bytes(content)
        (live / f"{name}.pem").unlink(missing_ok=True)
        (live / f"{name}.pem").symlink_to(f"../../archive/tls/{name}{number}.pem")


def test_a_replaced_directory_is_watched_again(tmp_path: Path, run: Run) -> None:
    """A directory that is moved away and made anew is watched like the first one."""

    async def main() -> None:
        directory = tmp_path / "tls"
        put(directory, Request().issue().pair)
        async with watching(tmp_path) as (store, _):
            for version in ("1", "2"):
                directory.rename(tmp_path / f"old{version}")
                pair = Request().issue().pair
                put(directory, pair)
                await until(lambda: served(store) == serial(pair), NOTICED)  # noqa: B023  # awaited at once
            pair = Request().issue().pair
            put(directory, pair)
            await until(lambda: served(store) == serial(pair), NOTICED)

    run(main())


def test_a_late_mount_is_noticed(tmp_path: Path, run: Run) -> None:
    """Where CERT_DIR itself does not exist at the start, its coming is an event too."""

    async def main() -> None:
        async with watching(tmp_path / "certs") as (store, _):
            assert store.generation is None
            put(tmp_path / "certs" / "tls", Request().issue().pair)
            await until(lambda: store.generation is not None, NOTICED + 2)

    run(main())


def test_what_stays_broken_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken pair is reported after two seconds, not before, once; the last good one stays."""

    async def main() -> None:
        pair = Request().issue().pair
        put(tmp_path, pair)
        async with watching(tmp_path, resync=0.2) as (store, _):
            (tmp_path / "tls.key").write_bytes(b"garbage")
            assert await until(lambda: store.error is not None) > 1.9
            await until(lambda: store.reloads["failed"] == 2)
            assert served(store) == serial(pair)

    with caplog.at_level(logging.ERROR, LOGGER):
        asyncio.run(main())
    assert len(caplog.records) == 1


def only(directory: Path) -> Steps[frozenset[Path]]:
    """This is all there is to watch."""
    yield None
    return frozenset({directory})


def test_the_resync_needs_no_event(tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Where the directory that changes is not watched, the resync finds each change, and warns of that once."""

    async def main() -> None:
        put(tmp_path / "certs", Request().issue().pair)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        async with watching(tmp_path / "certs", 0.2, partial(only, elsewhere)) as (store, _):
            # The first look of all needs no resync, and may be the one that finds the first of them.
            for _ in range(4):
                pair = Request().issue().pair
                put(tmp_path / "certs", pair)
                await until(lambda: served(store) == serial(pair), NOTICED)  # noqa: B023  # awaited at once
            await until(lambda: bool(caplog.messages))
            await asyncio.sleep(LATE + 0.5)  # as long as a second warning would take

    with caplog.at_level(logging.WARNING, LOGGER):
        run(main())
    (line,) = caplog.messages
    assert "a change was found of which no event had told" in line
    assert "every 0.2 s (TLSPROXY_CERT_RESYNC_PERIOD)" in line


def test_an_event_that_comes_after_the_resync_is_no_cause_to_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A change that the resync finds while its event is on its way is no sign that events stay away."""

    async def main() -> None:
        put(tmp_path, Request().issue().pair)
        async with watching(tmp_path, 0.02) as (store, _):
            for _ in range(5):
                pair = Request().issue().pair
                put(tmp_path, pair)
                await until(lambda: served(store) == serial(pair), NOTICED)  # noqa: B023  # awaited at once
            await asyncio.sleep(LATE + 0.5)  # as long as a warning would take

    with caplog.at_level(logging.WARNING, LOGGER):
        asyncio.run(main())
    assert caplog.messages == []


def test_it_tells_of_each_rotation(tmp_path: Path) -> None:
    """What is to happen after a rotation is called once for each, when the new certificate is served already."""

    async def main() -> None:
        put(tmp_path, Request().issue().pair)
        seen: list[str] = []
        async with watching(tmp_path, rotated=lambda: seen.append(served(store))) as (store, watch):
            watch.look()
            for count in (1, 2):
                pair = Request().issue().pair
                put(tmp_path, pair)
                await until(lambda: len(seen) == count, NOTICED)  # noqa: B023  # awaited at once
                assert seen[-1] == serial(pair)

    asyncio.run(main())


def test_others_run_between_the_steps(tmp_path: Path) -> None:
    """However many certificates there are, the loop is held for one at a time: to find what to watch, and to look."""
    seen: list[str] = []

    def step(what: str) -> None:
        seen.append(what)
        time.sleep(HOLD * 1.1)
        asyncio.get_running_loop().call_soon(seen.append, "other")

    class Many:
        name = "many"

        def look(self, *, provisional: bool = False) -> Steps[Reload]:
            for _ in range(3):
                step("look")
                yield None
            return Reload("unchanged", "", datetime.now(UTC))

        def look_near(self, paths: Iterable[Path]) -> Steps[bool]:
            yield None
            return False

    def directories() -> Steps[frozenset[Path]]:
        for _ in range(2):
            step("way")
            yield None
        return frozenset({tmp_path})

    async def main() -> None:
        task = asyncio.create_task(Watch(Many(), directories, NEVER).run())
        await until(lambda: len(seen) == 14)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == [*["way", "other"] * 2, *["look", "other"] * 3, *["way", "other"] * 2]


def test_what_the_events_tell_of_is_looked_at_first(tmp_path: Path) -> None:
    """Of many certificates the one that has changed is served before the others are looked at."""
    names = ("a", "b", "c")
    seen: list[tuple[bool, list[str]]] = []

    class Seen(Catalogue):
        def look(self, *, provisional: bool = False) -> Steps[Reload]:
            seen.append((rotated.is_set(), [served(store) for store in self.stores.values()]))
            return super().look(provisional=provisional)

    def make(name: str) -> Store:
        return Store(name, partial(files.find, tmp_path, name), "intermediate")

    rotated = asyncio.Event()

    async def main() -> None:
        for name in names:
            put(tmp_path / name, Request().issue().pair)
        certificates = Seen("*", lambda _: names, make, "intermediate")
        certificates.load()
        seen.clear()
        ways = partial(files.directories, tmp_path, *names)
        task = asyncio.create_task(Watch(certificates, ways, NEVER, rotated.set).run())
        await until(lambda: len(seen) == 1)
        await asyncio.sleep(0.2)  # the first look is over
        pair = Request().issue().pair
        put(tmp_path / "b", pair)
        await until(lambda: len(seen) == 2)
        assert seen[1] == (True, [seen[0][1][0], serial(pair), seen[0][1][2]])
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_link_that_is_turned_while_the_watch_is_made(tmp_path: Path) -> None:
    """Where the directories had been found before, those that count from then on are watched none the less."""
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "certs"
    put(first, Request().issue().pair)
    put(second, Request().issue().pair)
    link.symlink_to(first)

    def directories() -> Steps[frozenset[Path]]:
        watched = yield from files.directories(link, "tls")
        if link.readlink() == first:
            (tmp_path / "draft").symlink_to(second)
            (tmp_path / "draft").rename(link)
        return watched

    async def main() -> None:
        async with watching(link, watched=directories) as (store, _):
            await until(lambda: served(store) == serial(((second / "tls.crt").read_bytes(), b"")), NOTICED)
            await asyncio.sleep(0.3)  # no event is left over that would lead there by chance
            pair = Request().issue().pair
            put(second, pair)
            await until(lambda: served(store) == serial(pair), NOTICED)

    asyncio.run(main())


def test_a_directory_that_is_replaced_from_above(tmp_path: Path, run: Run) -> None:
    """Of a plain directory above CERT_DIR that gives way to another no event tells; it is noticed and watched on."""

    async def main() -> None:
        above = tmp_path / "above"
        put(above / "between" / "certs", Request().issue().pair)
        async with watching(above / "between" / "certs") as (store, _):
            for number in range(2):
                pair = Request().issue().pair
                put(tmp_path / "fresh" / "between" / "certs", pair)
                above.rename(tmp_path / f"old{number}")
                (tmp_path / "fresh").rename(above)
                await until(lambda: served(store) == serial(pair), NOTICED)  # noqa: B023  # awaited at once
            pair = Request().issue().pair
            put(above / "between" / "certs", pair)
            await until(lambda: served(store) == serial(pair), NOTICED)

    run(main())


def test_a_directory_that_is_closed_for_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not read it learns at once when that is over; that it can't be watched meanwhile is said once."""
    monkeypatch.setattr("tlsproxy.tls.watch.RETRIES", (0.05,))

    async def main(directory: Path) -> None:
        put(directory, Request().issue().pair)
        async with watching(directory) as (store, _):
            for _ in range(2):
                allow(directory, 0)
                await until(lambda: store.error is not None)
                allow(directory, 0o755)
                await until(lambda: store.error is None, NOTICED)

    with tempfile.TemporaryDirectory() as name, caplog.at_level(logging.WARNING, LOGGER), unprivileged_in(Path(name)):
        asyncio.run(main(Path(name) / "certs"))
    assert len([line for line in caplog.messages if "cannot be watched, since it may not be read" in line]) == 1


def allow(directory: Path, mode: int) -> None:
    directory.chmod(mode)


@contextlib.contextmanager
def unprivileged_in(directory: Path) -> Iterator[None]:
    """Without root's rights, but for those to one's own directory."""
    directory.chmod(0o777)
    with unprivileged():
        yield


@pytest.mark.parametrize("way", ["moved away", "removed", "moved over"])
def test_a_directory_that_nobody_watches_from_above(tmp_path: Path, run: Run, way: str) -> None:
    """CERT_DIR itself made anew, with or without the old one in its place meanwhile, is noticed and watched on."""

    async def main() -> None:
        directory, fresh = tmp_path / "certs", tmp_path / "fresh"
        put(directory, Request().issue().pair)
        async with watching(directory) as (store, _):
            for number in range(2):
                pair = Request().issue().pair
                put(fresh, pair)
                if way == "moved away":
                    directory.rename(tmp_path / f"old{number}")
                else:
                    for path in directory.iterdir():
                        path.unlink()
                if way == "removed":
                    directory.rmdir()
                fresh.rename(directory)
                await until(lambda: served(store) == serial(pair), NOTICED)  # noqa: B023  # awaited at once

    run(main())


def test_without_a_watch_the_resync_carries_on(tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A watch that cannot be had is warned about once, with the variable that governs what remains."""

    def denied() -> Steps[frozenset[Path]]:
        yield None
        raise OSError(28, "No space left on device")

    async def main() -> None:
        put(tmp_path, Request().issue().pair)
        async with watching(tmp_path, 0.1, denied) as (store, _):
            for _ in range(2):
                pair = Request().issue().pair
                put(tmp_path, pair)
                await until(lambda: served(store) == serial(pair), NOTICED)  # noqa: B023  # awaited at once

    with caplog.at_level(logging.WARNING, LOGGER):
        run(main())
    (line,) = caplog.messages
    assert "cannot be watched ([Errno 28] No space left on device)" in line
    assert "every 0.1 s (TLSPROXY_CERT_RESYNC_PERIOD)" in line


def test_asked_to_look_it_looks_and_answers(tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """SIGHUP's call is answered in the log though nothing has changed, and finds what no event told."""

    async def main() -> None:
        put(tmp_path / "certs", Request().issue().pair)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        async with watching(tmp_path / "certs", NEVER, partial(only, elsewhere)) as (store, watch):
            watch.look()
            await until(lambda: any("unchanged" in line for line in caplog.messages), NOTICED)
            pair = Request().issue().pair
            put(tmp_path / "certs", pair)
            watch.look()
            await until(lambda: served(store) == serial(pair), NOTICED)

    with caplog.at_level(logging.INFO, LOGGER):
        run(main())


def test_an_idle_watch_costs_next_to_nothing(tmp_path: Path) -> None:
    """Reading the files wakes nobody, and waiting takes less than a hundredth of a CPU."""

    async def main() -> None:
        put(tmp_path, Request().issue().pair)
        async with watching(tmp_path) as (store, _):
            looks = 0
            source = store._source

            def counted() -> files.Material:
                nonlocal looks
                looks += 1
                return source()

            store._source = counted
            await until(lambda: looks == 1)
            before = time.process_time()
            await asyncio.sleep(1)
            assert time.process_time() - before < 0.01
            assert looks == 1

    asyncio.run(main())
