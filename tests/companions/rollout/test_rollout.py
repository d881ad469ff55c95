"""The order of a change, what becomes of one that goes wrong, and what is gone on with after a start."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from tests.companions.rollout.volume import leftovers, seen
from tlsproxy.companions.rollout.history import History
from tlsproxy.companions.rollout.outcomes import Outcome, RefusedError, RolloutError
from tlsproxy.companions.rollout.releases import ReleaseError, Releases, write_files
from tlsproxy.companions.rollout.rollout import Rollout


class Scene:
    """One volume and an app that is told; what happens is in `events`, what is to go wrong in `faults`."""

    def __init__(self, volume: Path) -> None:
        self.volume = volume
        self.events: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.holds: dict[str, asyncio.Event] = {}
        self.reached: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.rollout = self.another()

    def another(self) -> Rollout:
        """One as a new process would have it."""
        releases, history = Releases(self.volume, keep=3), History(self.volume / "..history.json")
        return Rollout(releases, history, check=self.check, tell=self.tell, watch=self.watch)

    async def check(self, staged: Path) -> None:
        await self._happens(f"check {(staged / 'a').read_text()}")

    async def tell(self, name: str) -> None:
        assert seen(self.volume)["a"] == name, "the app is told of what it sees"
        await self._happens(f"tell {name}")

    async def watch(self) -> None:
        await self._happens(f"watch {seen(self.volume)['a']}")

    async def _happens(self, event: str) -> None:
        self.events.append(event)
        self.reached[event].set()
        if event in self.holds:
            await self.holds[event].wait()
        if event in self.faults:
            raise self.faults[event]

    async def offer(self, name: str) -> Outcome:
        async def fill(staged: Path) -> None:
            write_files(staged, {"a": name.encode(), "b": name.encode()})

        return await self.rollout.offer(name, "https://api", fill)

    async def restart(self) -> None:
        await self.rollout.close()
        self.rollout = self.another()
        await self.rollout.start()

    def outcomes(self) -> list[str]:
        """The history, the oldest first."""
        history = self.rollout.status()["history"]
        assert isinstance(history, list)
        return [f"{entry['name']} {entry['outcome']}" for entry in reversed(history)]

    def taken(self) -> list[str]:
        """What has happened since this was asked last."""
        self.reached.clear()
        events, self.events = self.events, []
        return events


Act = Callable[[Scene], Coroutine[None, None, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Act], None]:
    """Runs an act on a scene with version 1 published."""

    def run(act: Act) -> None:
        async def whole() -> None:
            scene = Scene(tmp_path)
            await scene.rollout.start()
            assert (await scene.offer("1")).result == "published"
            scene.taken()
            async with asyncio.timeout(10):
                await act(scene)
            assert leftovers(tmp_path) == []

        asyncio.run(whole(), debug=True)

    return run


Play = Callable[[Act], None]


async def told(scene: Scene, fault: str, error: Exception, name: str) -> Outcome:
    scene.faults = {fault: error}
    return await scene.offer(name)


# ---------------------------------------------------------------------------- when all goes well


def test_a_version_is_checked_published_told_of_and_watched_over(play: Play) -> None:
    """In this order; what was before stays kept."""

    async def act(scene: Scene) -> None:
        assert await scene.offer("2") == Outcome("2", "published")
        assert scene.taken() == ["check 2", "tell 2", "watch 2"]
        assert (scene.rollout.current, scene.rollout.unfinished) == ("2", None)
        assert scene.outcomes() == ["1 published", "2 published"]

    play(act)


def test_what_is_current_is_not_published_again(play: Play) -> None:
    """Nothing is written, the app is left alone; also by the next process."""

    async def act(scene: Scene) -> None:
        assert (await scene.offer("1")).result == "unchanged"
        await scene.restart()
        assert (await scene.offer("1")).result == "unchanged"
        assert await scene.rollout.go_on() is None
        assert scene.taken() == []

    play(act)


def test_old_versions_are_collected(play: Play) -> None:
    """As many as are to be kept; the one to go back to among them."""

    async def act(scene: Scene) -> None:
        scene.faults = {f"watch {name}": RuntimeError("down") for name in "2345"}
        for name in "2345":
            await scene.offer(name)
        assert scene.rollout.current == "1"
        assert scene.rollout.status()["kept"] == ["1", "3", "4", "5"]

    play(act)


# ---------------------------------------------------------------------------- when it goes wrong


def test_a_version_that_a_check_refuses_is_never_seen(play: Play) -> None:
    """The last good one stays, the app is not told, and the check is not run again for it; a new process asks anew."""

    async def act(scene: Scene) -> None:
        assert await told(scene, "check 2", RefusedError("line 3: no value"), "2") == Outcome(
            "2", "rejected", "line 3: no value"
        )
        assert await scene.offer("2") == Outcome("2", "known bad", "line 3: no value")
        assert (scene.taken(), seen(scene.volume)["a"]) == (["check 2"], "1")
        assert scene.rollout.status()["kept"] == ["1"]
        assert scene.outcomes() == ["1 published", "2 rejected"]
        scene.faults.clear()
        await scene.restart()
        assert (await scene.offer("2")).result == "published"

    play(act)


def test_a_check_that_could_not_be_made_says_nothing_of_the_version(play: Play) -> None:
    """Nothing is published, and the version is tried again."""

    async def act(scene: Scene) -> None:
        with pytest.raises(OSError, match="no such command"):
            await told(scene, "check 2", OSError("no such command"), "2")
        assert seen(scene.volume)["a"] == "1"
        assert leftovers(scene.volume) == []
        scene.faults.clear()
        assert (await scene.offer("2")).result == "published"

    play(act)


def test_an_app_that_does_not_come_back_gets_the_former_version(play: Play) -> None:
    """It is restored, told of and watched over; the bad one is not tried again, whoever starts anew, another one is."""

    async def act(scene: Scene) -> None:
        assert await told(scene, "watch 2", RuntimeError("refused after 5s"), "2") == Outcome(
            "2", "restored", "refused after 5s"
        )
        assert scene.taken() == ["check 2", "tell 2", "watch 2", "tell 1", "watch 1"]
        assert seen(scene.volume) == {"a": "1", "b": "1"}
        assert scene.outcomes() == ["1 published", "2 failed", "1 restored"]
        await scene.restart()
        assert await scene.offer("2") == Outcome("2", "known bad", "refused after 5s")
        assert scene.taken() == []
        assert (await scene.offer("3")).result == "published"

    play(act)


def test_an_app_that_refuses_a_version_gets_the_former_one(play: Play) -> None:
    """As one that is not healthy, and without waiting for that."""

    async def act(scene: Scene) -> None:
        assert await told(scene, "tell 2", RefusedError("answered 400"), "2") == Outcome(
            "2", "restored", "answered 400"
        )
        assert scene.taken() == ["check 2", "tell 2", "tell 1", "watch 1"]

    play(act)


def test_an_app_that_can_not_be_reached_is_told_later(play: Play) -> None:
    """That says nothing against the version: it stays, and is told of until it has been heard."""

    async def act(scene: Scene) -> None:
        assert await told(scene, "tell 2", RuntimeError("no process nginx"), "2") == Outcome(
            "2", "untold", "no process nginx"
        )
        assert seen(scene.volume)["a"] == "2"
        assert (await scene.offer("2")).result == "untold"
        await scene.restart()
        assert scene.rollout.unfinished is not None
        scene.faults.clear()
        scene.taken()
        assert await scene.offer("2") == Outcome("2", "published")
        assert scene.taken() == ["tell 2", "watch 2"]

    play(act)


def test_that_an_app_can_not_be_reached_is_said_once(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried; another reason is said, too."""

    async def act(scene: Scene) -> None:
        caplog.clear()
        for reason in ("no process", "no process", "no pid file"):
            await told(scene, "tell 2", RuntimeError(reason), "2")
        assert caplog.messages == [
            "version 2 is published, but the app was not told: no process",
            "version 2 is published, but the app was not told: no pid file",
        ]

    play(act)


def test_a_newer_version_takes_the_place_of_one_that_is_not_at_its_end(play: Play) -> None:
    """What is gone back to is not that one, which nobody knows to be good."""

    async def act(scene: Scene) -> None:
        await told(scene, "tell 2", RuntimeError("no process"), "2")
        assert (await told(scene, "watch 3", RuntimeError("down"), "3")).result == "restored"
        assert scene.rollout.current == "1"
        assert scene.outcomes() == ["1 published", "2 superseded", "3 failed", "1 restored"]

    play(act)


def test_the_former_version_may_be_offered_again_before_the_app_was_told(play: Play) -> None:
    """A change that the source takes back is taken back here."""

    async def act(scene: Scene) -> None:
        await told(scene, "tell 2", RuntimeError("no process"), "2")
        scene.faults.clear()
        assert (await scene.offer("1")).result == "published"
        assert seen(scene.volume)["a"] == "1"

    play(act)


def test_the_first_version_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    """It stays, and it is said that the app is not healthy."""

    async def act() -> None:
        scene = Scene(tmp_path)
        await scene.rollout.start()
        assert await told(scene, "watch 1", RuntimeError("down"), "1") == Outcome("1", "failed", "down")
        assert (seen(tmp_path)["a"], scene.rollout.unfinished) == ("1", None)
        assert (await scene.offer("1")).result == "unchanged"

    asyncio.run(act(), debug=True)


def test_a_former_version_that_fails_too_is_left(play: Play) -> None:
    """There is no going back and forth."""

    async def act(scene: Scene) -> None:
        await scene.offer("2")
        scene.taken()
        scene.faults = {f"watch {name}": RuntimeError("down") for name in "123"}
        assert await scene.offer("3") == Outcome("3", "failed", "down")
        assert scene.taken() == ["check 3", "tell 3", "watch 3", "tell 2", "watch 2"]
        assert (scene.rollout.current, scene.rollout.unfinished) == ("2", None)

    play(act)


def test_what_can_not_be_filled_changes_nothing(play: Play) -> None:
    """A source that fails in the middle is told so, and nothing of it is left."""

    async def fill(staged: Path) -> None:
        (staged / "half").touch()
        raise ConnectionError("the API hung up")

    async def act(scene: Scene) -> None:
        with pytest.raises(ConnectionError, match="hung up"):
            await scene.rollout.offer("2", "https://api", fill)
        assert (leftovers(scene.volume), seen(scene.volume)["a"]) == ([], "1")

    play(act)


def test_what_is_in_the_way_is_gone_on_with_when_it_has_gone(play: Play) -> None:
    """The volume's trouble is no fault of the version."""

    async def fill(staged: Path) -> None:
        write_files(staged, {"a": b"2", "c": b"2"})

    async def act(scene: Scene) -> None:
        (scene.volume / "c").write_text("theirs")
        for _ in range(2):
            with pytest.raises(ReleaseError, match="is in the way"):
                await scene.rollout.offer("2", "https://api", fill)
        assert seen(scene.volume)["a"] == "1"
        (scene.volume / "c").unlink()
        assert (await scene.rollout.go_on()) == Outcome("2", "published")
        assert scene.outcomes() == ["1 published", "2 published"]

    play(act)


def test_a_path_that_no_release_may_have_is_the_versions_fault(play: Play) -> None:
    """It is rejected, and not asked for again."""

    async def fill(staged: Path) -> None:
        write_files(staged, {"../up": b""})

    async def act(scene: Scene) -> None:
        assert (await scene.rollout.offer("2", "https://api", fill)).result == "rejected"
        assert (await scene.rollout.offer("2", "https://api", fill)).result == "known bad"

    play(act)


def test_a_restoration_that_can_not_be_made_is_gone_on_with(play: Play) -> None:
    """The bad version is not told of again meanwhile, though it is current and offered."""

    async def fill(staged: Path) -> None:
        write_files(staged, {"a": b"2"})

    async def act(scene: Scene) -> None:
        scene.faults = {"watch 2": RuntimeError("down")}
        scene.holds["watch 2"] = asyncio.Event()
        change = asyncio.create_task(scene.rollout.offer("2", "https://api", fill))
        await happens(scene, "watch 2")
        (scene.volume / "b").mkdir()
        scene.holds["watch 2"].set()
        with pytest.raises(ReleaseError, match="b is in the way"):
            await change
        scene.taken()
        with pytest.raises(ReleaseError, match="b is in the way"):
            await scene.rollout.offer("2", "https://api", fill)
        assert scene.taken() == []
        (scene.volume / "b").rmdir()
        assert (await scene.rollout.offer("2", "https://api", fill)).result == "known bad"
        assert scene.taken() == ["tell 1", "watch 1"]
        assert seen(scene.volume) == {"a": "1", "b": "1"}

    play(act)


def test_versions_that_the_app_never_hears_of_do_not_pile_up(play: Play) -> None:
    """However a change ends, what is no longer needed goes; the one to go back to stays."""

    async def act(scene: Scene) -> None:
        for name in "23456":
            await told(scene, f"tell {name}", RuntimeError("no process"), name)
        assert scene.rollout.status()["kept"] == ["1", "4", "5", "6"]

    play(act)


def test_the_app_is_brought_back_also_when_the_history_can_not_be_written(play: Play) -> None:
    """What is remembered then is remembered as long as the process lives."""

    async def act(scene: Scene) -> None:
        async def breaks(staged: Path) -> None:
            write_files(staged, {"a": b"2", "b": b"2"})

        scene.faults = {"watch 2": RuntimeError("down")}
        scene.holds["tell 2"] = asyncio.Event()
        change = asyncio.create_task(scene.rollout.offer("2", "https://api", breaks))
        await happens(scene, "tell 2")
        (scene.volume / "..history.json.new").mkdir()
        scene.holds["tell 2"].set()
        assert (await change).result == "restored"
        assert seen(scene.volume)["a"] == "1"
        assert (await scene.offer("2")).result == "known bad"
        (scene.volume / "..history.json.new").rmdir()

    play(act)


# ---------------------------------------------------------------------------- what a person asks for


def test_rolling_back(play: Play) -> None:
    """The former version is published, told of and watched over; what was left is not tried again."""

    async def act(scene: Scene) -> None:
        await scene.offer("2")
        scene.taken()
        assert await scene.rollout.roll_back("ann") == Outcome("1", "rolled back")
        assert scene.taken() == ["tell 1", "watch 1"]
        assert await scene.offer("2") == Outcome("2", "known bad", "rolled back by ann")
        assert scene.outcomes()[-1] == "1 rolled back"
        assert await scene.rollout.roll_back("ann", "2") == Outcome("2", "rolled back")

    play(act)


@pytest.mark.parametrize("asks", ["roll_back", "pin"])
def test_who_asks_for_another_version_does_not_wait_for_a_watch(play: Play, asks: str) -> None:
    """The watch ends at once, and so does that of a former version that is being restored."""

    async def act(scene: Scene) -> None:
        rollout = scene.rollout
        for number, (fault, held) in enumerate(((None, "watch 2"), ("tell 3", "watch 1"))):
            scene.faults = {fault: RefusedError("no")} if fault else {}
            scene.holds = {held: asyncio.Event()}
            name = str(number + 2)
            change = asyncio.create_task(scene.offer(name))
            await happens(scene, held)
            scene.taken()
            scene.holds.clear()
            back = "1" if fault is None else "2"
            await (rollout.roll_back("ann", back) if asks == "roll_back" else rollout.pin(back, "ann"))
            assert await change == Outcome(
                name, "superseded", "another version was asked for" if fault is None else "no"
            )
            assert scene.taken() == [f"tell {back}", f"watch {back}"]
            assert (rollout.current, rollout.unfinished) == (back, None)
            if asks == "pin":
                await rollout.unpin("ann")
        scene.holds = {"watch 9": asyncio.Event()}
        change = asyncio.create_task(scene.offer("9"))
        await happens(scene, "watch 9")
        await asyncio.sleep(0.01)
        assert not change.done(), "who has been served hurries nobody"
        scene.holds["watch 9"].set()
        assert (await change).result == "published"

    play(act)


def test_what_can_not_be_asked_for_disturbs_no_watch(play: Play) -> None:
    """Nor does a pin of what is watched: that waits for the end."""

    async def act(scene: Scene) -> None:
        scene.holds["watch 2"] = asyncio.Event()
        change = asyncio.create_task(scene.offer("2"))
        await happens(scene, "watch 2")
        with pytest.raises(RolloutError):
            await scene.rollout.roll_back("ann", "9")
        pin = asyncio.create_task(scene.rollout.pin("2", "ann"))
        await asyncio.sleep(0.01)
        scene.holds["watch 2"].set()
        assert (await change).result == "published"
        assert (await pin).result == "pinned"

    play(act)


def test_rolling_back_to_what_is_not_healthy_stays(play: Play) -> None:
    """A person has decided, and is told."""

    async def act(scene: Scene) -> None:
        await scene.offer("2")
        await scene.offer("3")
        scene.faults = {"watch 1": RuntimeError("down")}
        assert await scene.rollout.roll_back("ann", "1") == Outcome("1", "failed", "down")
        assert scene.rollout.current == "1"

    play(act)


def test_rolling_back_to_what_there_is_not(play: Play) -> None:
    """The message says which there are."""

    async def act(scene: Scene) -> None:
        for name, message in (
            (None, "there is no version to go back to"),
            ("9", "there is no version 9; kept are: 1"),
            ("1", "version 1 is current already"),
        ):
            with pytest.raises(RolloutError, match=message):
                await scene.rollout.roll_back("ann", name)
        with pytest.raises(RolloutError, match="there is no version 9"):
            await scene.rollout.pin("9", "ann")
        with pytest.raises(RolloutError, match="no version is pinned"):
            await scene.rollout.unpin("ann")

    play(act)


def test_a_pinned_version_is_held(play: Play) -> None:
    """Nothing that is offered is taken, and nothing is rolled back, until it is unpinned; a start changes nothing."""

    async def act(scene: Scene) -> None:
        await scene.offer("2")
        assert await scene.rollout.pin("1", "ann") == Outcome("1", "pinned")
        await scene.restart()
        assert await scene.offer("3") == Outcome("3", "held", "version 1 is pinned")
        assert (await scene.offer("1")).result == "unchanged"
        with pytest.raises(RolloutError, match="version 1 is pinned; unpin it first"):
            await scene.rollout.roll_back("ann")
        await scene.rollout.unpin("ann")
        assert (await scene.offer("3")).result == "published"
        assert scene.outcomes() == ["1 published", "2 published", "1 pinned", "1 unpinned", "3 published"]

    play(act)


def test_what_is_current_is_pinned_without_a_word_to_the_app(play: Play) -> None:
    """Nothing changes for it."""

    async def act(scene: Scene) -> None:
        assert (await scene.rollout.pin("1", "ann")).result == "pinned"
        assert scene.taken() == []
        assert (await scene.offer("2")).result == "held"

    play(act)


def test_a_pin_that_fails_is_none(play: Play) -> None:
    """The former version is restored, and offers are taken."""

    async def act(scene: Scene) -> None:
        await scene.offer("2")
        scene.faults = {"watch 1": RuntimeError("down")}
        assert (await scene.rollout.pin("1", "ann")).result == "restored"
        assert (scene.rollout.current, scene.rollout.status()["pinned"]) == ("2", None)

    play(act)


# ---------------------------------------------------------------------------- one at a time, and cut short


async def happens(scene: Scene, event: str) -> None:
    async with asyncio.timeout(5):
        await scene.reached[event].wait()


def test_changes_are_made_one_after_the_other(play: Play) -> None:
    """Who comes meanwhile waits."""

    async def act(scene: Scene) -> None:
        scene.holds["watch 2"] = asyncio.Event()
        first = asyncio.create_task(scene.offer("2"))
        await happens(scene, "watch 2")
        second = asyncio.create_task(scene.offer("3"))
        await asyncio.sleep(0)
        assert scene.rollout.status()["doing"] == "watching over 2"
        scene.holds["watch 2"].set()
        assert [outcome.result for outcome in await asyncio.gather(first, second)] == ["published", "published"]
        assert scene.taken() == ["check 2", "tell 2", "watch 2", "check 3", "tell 3", "watch 3"]

    play(act)


@pytest.mark.parametrize("moment", ["check 2", "tell 2", "watch 2"])
def test_a_change_that_is_cut_short_is_gone_on_with(play: Play, moment: str) -> None:
    """Told to stop at any moment: nothing was done, or the next start tells the app again and watches over it."""

    async def act(scene: Scene) -> None:
        scene.holds[moment] = asyncio.Event()
        change = asyncio.create_task(scene.offer("2"))
        await happens(scene, moment)
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        scene.holds.clear()
        scene.taken()
        await scene.restart()
        if moment == "check 2":
            assert (scene.rollout.unfinished, seen(scene.volume)["a"]) == (None, "1")
            return
        assert await scene.rollout.go_on() == Outcome("2", "published")
        assert scene.taken() == ["tell 2", "watch 2"]
        assert scene.outcomes() == ["1 published", "2 published"]

    play(act)


def test_a_restoration_that_is_cut_short_is_gone_on_with(play: Play) -> None:
    """The bad version is remembered before the former one is published."""

    async def act(scene: Scene) -> None:
        scene.faults = {"watch 2": RuntimeError("down")}
        scene.holds["tell 1"] = asyncio.Event()
        change = asyncio.create_task(scene.offer("2"))
        await happens(scene, "tell 1")
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        scene.holds.clear()
        scene.taken()
        await scene.restart()
        assert (await scene.offer("2")).result == "known bad"
        assert scene.taken() == ["tell 1", "watch 1"]
        assert scene.outcomes() == ["1 published", "2 failed", "1 restored"]

    play(act)


def test_work_on_the_disk_ends_before_another_begins(play: Play) -> None:
    """A thread can't be stopped: who was cancelled gives the lock back when it is done."""

    async def act(scene: Scene) -> None:
        for delay in range(12):
            change = asyncio.create_task(scene.offer(f"c{delay}"))
            await asyncio.sleep(delay / 1000)
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)
            assert not scene.rollout._lock.locked()
            assert leftovers(scene.volume) == []
        assert (await scene.offer("2")).result == "published"

    play(act)


# ---------------------------------------------------------------------------- a start


def test_a_version_that_is_no_more_can_not_be_gone_on_with(play: Play) -> None:
    """What is current stays, and the app is told of it."""

    async def act(scene: Scene) -> None:
        await told(scene, "tell 2", RuntimeError("no process"), "2")
        (scene.volume / "..versions" / "2").rename(scene.volume / "..versions" / "gone")
        (scene.volume / "..data").unlink()
        (scene.volume / "..data").symlink_to("..versions/1")
        scene.faults.clear()
        scene.taken()
        await scene.restart()
        assert await scene.rollout.go_on() == Outcome("1", "restored", "2 was undone")
        assert scene.taken() == ["tell 1", "watch 1"]
        assert scene.outcomes() == ["1 published", "2 undone", "1 restored"]

    play(act)


def test_a_lost_history_leaves_something_to_go_back_to(play: Play) -> None:
    """What is current at a start without one is taken for good."""

    async def act(scene: Scene) -> None:
        (scene.volume / "..history.json").unlink()
        await scene.restart()
        assert (await told(scene, "watch 2", RuntimeError("down"), "2")).result == "restored"
        assert scene.rollout.current == "1"

    play(act)


# ---------------------------------------------------------------------------- what is told of it


def test_the_status_is_json(play: Play) -> None:
    """It names the version, what is under way, what is kept, what is bad and what has been."""

    async def act(scene: Scene) -> None:
        await told(scene, "check 2", RefusedError("bad line"), "2")
        await told(scene, "tell 3", RuntimeError("no process"), "3")
        status = json.loads(json.dumps(scene.rollout.status()))
        assert status.pop("history")[0]["outcome"] == "rejected"
        assert status == {
            "current": "3", "doing": None, "pinned": None, "kept": ["1", "3"], "good": ["1"], "bad": {"2": "bad line"},
            "unfinished": {"name": "3", "origin": "https://api", "outcome": "published", "detail": ""},
        }  # fmt: skip

    play(act)


def test_what_goes_wrong_is_logged(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each thing that becomes of a version, with the reason."""

    async def act(scene: Scene) -> None:
        caplog.clear()
        await told(scene, "watch 2", RuntimeError("refused after 5s"), "2")
        assert caplog.messages == ["version 2 failed: refused after 5s"]

    play(act)
