"""The pages: what stands in them, and that nothing of a process can become a part of them."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.companions.topz.snapshots import NOTHING, PROCESSES, SNAPSHOT
from tlsproxy.companions.topz.detail import Detail, Socket
from tlsproxy.companions.topz.page import POLICY, STYLE, render, render_detail
from tlsproxy.companions.topz.question import parse_question
from tlsproxy.companions.topz.rows import choose
from tlsproxy.companions.topz.snapshot import Process, Snapshot

EVIL = "</td><script>x()</script>\"'&<!--"


class Page(HTMLParser):
    """The tags with their attributes, and the text."""

    EMPTY = frozenset({"meta", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(query: str = "", refresh: int = 5, snapshot: Snapshot = SNAPSHOT) -> Page:
    question = parse_question(query)
    return Page(render(snapshot, choose(snapshot, question, 100), question, refresh))


def links(shown: Page) -> list[str]:
    return [link["href"] or "" for link in shown.of("a")]


def test_everything_is_there() -> None:
    """Machine, containers and processes, each process with a link to its own page."""
    shown = page()
    for text in ("legacy-app-7d4b", "4 CPUs", "0123456789ab", "server --port 8080", "[worker]", "1:40.00"):
        assert text in shown.said
    assert {f"/topz/{process.pid}" for process in PROCESSES} <= set(links(shown))
    assert len(shown.of("table")) == len(shown.of("caption")) == 2


@pytest.mark.parametrize(("refresh", "metas"), [(5, ["5"]), (0, [])])
def test_it_asks_again_by_itself(refresh: int, metas: list[str]) -> None:
    """A page refreshes itself without a script, or not at all."""
    shown = page(refresh=refresh)
    assert [meta["content"] for meta in shown.of("meta") if meta.get("http-equiv") == "refresh"] == metas


def test_nothing_from_elsewhere() -> None:
    """No script, no image, no address but the page's own; the policy allows its style by digest and nothing else."""
    shown = page("filter=x&tree=on")
    assert {tag for tag, _ in shown.tags} & {"script", "img", "link", "iframe", "object"} == set()
    assert all(href.startswith("/topz") for href in links(shown))
    assert not re.search(r"url\(|@import|https?:", STYLE)
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in POLICY


def test_sorting() -> None:
    """A heading's link orders by it, and the other way round where the page is ordered by it already."""
    shown = page("filter=app&sort=rss")
    assert {"/topz?sort=-rss&filter=app", "/topz?filter=app", "/topz?sort=pid&filter=app"} <= set(links(shown))
    assert [one["aria-sort"] for one in shown.of("th") if "aria-sort" in one] == ["descending"]
    assert [one["aria-sort"] for one in page("sort=pid").of("th") if "aria-sort" in one] == ["ascending"]


def test_the_form_keeps_the_rest() -> None:
    """What the form does not ask is sent along; what it asks stands in it."""
    inputs = {one["name"]: one for one in page("filter=a%22b&tree=on&sort=pid&limit=3").of("input")}
    assert inputs["filter"]["value"] == 'a"b'
    assert "checked" in inputs["tree"]
    assert (inputs["sort"]["value"], inputs["limit"]["value"]) == ("pid", "3")
    assert "checked" not in {one["name"]: one for one in page().of("input")}["tree"]


def test_what_is_shown_can_be_chosen() -> None:
    """A container's name shows it alone and then all again; a page that is cut has a link to all."""
    assert "/topz?container=app" in links(page())
    assert "/topz" in links(page("container=app"))
    assert "/topz?limit=0" in links(page("limit=2"))
    assert "/topz?refresh=0" in links(page())
    assert "/topz" in links(page("refresh=0", refresh=0))
    assert {"/topz?format=text", "/topz?format=json"} <= set(links(page()))


def test_a_tree() -> None:
    """Branches stand before the command."""
    shown = Page(render(SNAPSHOT, choose(SNAPSHOT, parse_question("tree=on"), 0), parse_question("tree=on"), 0))
    assert "├─ worker" in shown.said
    assert "└─ [worker]" in shown.said


def test_everything_is_escaped() -> None:
    """Nothing that a process is called, or that is asked for, becomes markup."""
    process = Process(5, 1, EVIL, EVIL, EVIL, EVIL, container="/evil")
    container = replace(SNAPSHOT.containers[0], key="/evil", name=EVIL, id=EVIL)
    machine = replace(SNAPSHOT.machine, name=EVIL)
    evil = replace(SNAPSHOT, machine=machine, processes=(process,), containers=(container,))
    assert page(snapshot=evil).said.count(EVIL) >= 5
    asked = page("filter=%3C%2Ftd%3E%3Cscript%3E%22&container=%22%3E%3Cscript%3E")
    assert {one["name"]: one for one in asked.of("input")}["filter"]["value"] == '</td><script>"'
    detail = Detail(
        process, container, executable=EVIL, sockets=(Socket("unix", EVIL, "", ""),), environment={EVIL: EVIL}
    )
    assert Page(render_detail(detail)).said.count(EVIL) >= 7


def test_nothing() -> None:
    """Of nothing there is a page too."""
    assert "0 of 0 processes" in page(snapshot=NOTHING).said


def test_one_process() -> None:
    """A process's page leads back, has its tables, and stands still."""
    shown = Page(render_detail(Detail(PROCESSES[1], SNAPSHOT.containers[0], limits=(("Max open files", "1", "2"),))))
    assert links(shown) == ["/topz"]
    assert "Max open files" in shown.said
    assert not [meta for meta in shown.of("meta") if "http-equiv" in meta]
