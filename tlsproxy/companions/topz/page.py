"""Snapshots and processes as HTML pages: whole without scripts or anything from elsewhere, dark or light.

Pure. Everything that comes from a process is escaped; the policy that is sent along would let nothing run anyway.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

from tlsproxy.companions.topz import words
from tlsproxy.companions.topz.columns import COLUMNS, Column
from tlsproxy.companions.topz.detail import Detail
from tlsproxy.companions.topz.facts import CONTAINER_IS_TEXT, CONTAINER_TITLES, cells_of, facts, headline, share
from tlsproxy.companions.topz.question import Question
from tlsproxy.companions.topz.rows import Row, Rows
from tlsproxy.companions.topz.snapshot import Container, Snapshot

PATH = "/topz"
STYLE = Path(__file__).with_name("page.css").read_text()
_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
"""For Content-Security-Policy: the page's own style and its form, and nothing else."""


def render(snapshot: Snapshot, rows: Rows, question: Question, refresh: int) -> str:
    """The machine, the containers, and the processes that are asked for.

    Args:
        snapshot: all there is.
        rows: what is shown of it.
        question: what was asked for, that links and the form go on from.
        refresh: seconds after which the page asks again; 0: it does not.
    """
    body = (
        f"<h1>topz: {escape(snapshot.machine.name)}</h1>",
        *(f'<p class="machine">{escape(line)}</p>' for line in headline(snapshot)),
        *_containers(snapshot.containers, question),
        *_form(question, refresh),
        *_processes(rows, question),
        f"<p>{len(rows.shown)} of {rows.found} processes{_all(rows, question)}; {_forms(question)}</p>",
    )
    return _page(f"topz: {snapshot.machine.name}", body, refresh)


def render_detail(detail: Detail) -> str:
    """One process."""
    title = f"{detail.process.pid} {detail.process.name}"
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in facts(detail))
    limits = [[*limit] for limit in detail.limits]
    sockets = [[one.protocol, one.local, one.remote or words.DASH, one.state or words.DASH] for one in detail.sockets]
    variables = [[name, value] for name, value in detail.environment.items()]
    body = (
        f'<p><a href="{PATH}">all processes</a></p>',
        f"<h1>{escape(title)}</h1>",
        '<table class="facts"><caption>The process</caption><tbody>',
        *rows,
        "</tbody></table>",
        *_table("Limits", ("limit", "soft", "hard"), limits),
        *_table("Sockets", ("protocol", "local", "remote", "state"), sockets),
        *_table("Environment, masked", ("name", "value"), variables),
    )
    return _page(f"topz: {title}", body, 0)


def _page(title: str, body: Iterable[str], refresh: int) -> str:
    again = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{again}<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _link(text: str, query: str, label: str = "") -> str:
    said = f' title="{escape(label)}"' if label else ""
    return f'<a href="{PATH}{escape(query)}"{said}>{escape(text)}</a>'


# --- Containers --------------------------------------------------------------------------------------------


def _containers(containers: Sequence[Container], question: Question) -> Iterator[str]:
    if not containers:
        return
    yield '<div class="wide"><table><caption>Containers</caption><thead><tr>'
    for title, is_text in zip(CONTAINER_TITLES, CONTAINER_IS_TEXT, strict=True):
        yield f'<th scope="col"{_kind(is_text)}>{title}</th>'
    yield "</tr></thead><tbody>"
    for container in containers:
        kind = ' class="infra"' if container.infra else ""
        yield f"<tr{kind}>{''.join(_container(container, question))}</tr>"
    yield "</tbody></table></div>"


def _container(container: Container, question: Question) -> Iterator[str]:
    name, *cells = cells_of(container)
    only = question.query(container="" if question.container == name else name)
    yield f'<th scope="row" class="text">{_link(name, only, "only this container, or all again")}</th>'
    for title, cell, is_text in zip(CONTAINER_TITLES[1:], cells, CONTAINER_IS_TEXT[1:], strict=True):
        meter = _meter(share(container)) if title == "MEM%" else ""
        yield f"<td{_kind(is_text)}>{meter}{escape(cell)}</td>"


def _meter(value: float | None) -> str:
    if value is None:
        return ""
    return f'<meter min="0" max="100" high="90" value="{min(value, 100):.0f}">{value:.0f}%</meter> '


def _kind(is_text: bool) -> str:
    return ' class="text"' if is_text else ""


# --- Processes ---------------------------------------------------------------------------------------------


def _processes(rows: Rows, question: Question) -> Iterator[str]:
    yield '<div class="wide"><table class="processes"><caption>Processes</caption><thead><tr>'
    for key, column in COLUMNS.items():
        yield _heading(key, column, question)
    yield "</tr></thead><tbody>"
    for row in rows.shown:
        yield f"<tr{_gone(row)}>{''.join(_cells(row, rows))}</tr>"
    yield "</tbody></table></div>"


def _heading(key: str, column: Column, question: Question) -> str:
    """A link that orders by the column, and the other way round where it is ordered by it."""
    is_sorted = key == question.sort
    ascending = not question.ascending if is_sorted else column.ascending
    order = f' aria-sort="{"ascending" if question.ascending else "descending"}"' if is_sorted else ""
    link = _link(column.title, question.query(sort=key, ascending=ascending), column.meaning)
    return f'<th scope="col"{_kind(column.is_text)}{order}>{link}</th>'


def _cells(row: Row, rows: Rows) -> Iterator[str]:
    process = row.process
    yield f'<th scope="row"><a href="{PATH}/{process.pid}">{process.pid}</a></th>'
    for key, column in COLUMNS.items():
        cell = escape(column.text(process, rows.place))
        if key == "command":
            yield f'<td class="text command"><span class="branch">{row.branch}</span>{cell}</td>'
        elif key == "started" and process.started is not None:
            yield f'<td><time datetime="{words.moment(process.started)}">{cell}</time></td>'
        elif key != "pid":
            yield f"<td{_kind(column.is_text)}>{cell}</td>"


def _gone(row: Row) -> str:
    return ' class="gone"' if row.process.rss is None else ""


def _all(rows: Rows, question: Question) -> str:
    return f" ({_link('all', question.query(limit=0))})" if len(rows.shown) < rows.found else ""


def _forms(question: Question) -> str:
    return f"also as {_link('text', question.query(format='text'))} and {_link('JSON', question.query(format='json'))}"


# --- What is asked for -------------------------------------------------------------------------------------


def _form(question: Question, refresh: int) -> Iterator[str]:
    """The form, that keeps what it does not ask; and the links beside it."""
    yield f'<form action="{PATH}" method="get" role="search">'
    for name, value in question.fields(filter="", tree=False).items():
        yield f'<input type="hidden" name="{name}" value="{escape(value)}">'
    checked = " checked" if question.tree else ""
    yield (
        f'<label>Filter <input type="search" name="filter" value="{escape(question.filter)}" maxlength="200"></label> '
        f'<label><input type="checkbox" name="tree" value="on"{checked}> Tree</label> '
        '<button type="submit">Show</button> '
    )
    if refresh:
        yield f"<span>asks again every {refresh} s ({_link('pause', question.query(refresh=0))})</span>"
    else:
        yield f"<span>{_link('asks no more; go on', question.query(refresh=None))}</span>"
    if question.filter or question.container:
        yield f"<span>{_link('show all', question.query(filter='', container=''))}</span>"
    yield "</form>"


def _table(caption: str, titles: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    if not lines:
        return
    yield f'<div class="wide"><table class="facts"><caption>{caption}</caption><thead><tr>'
    yield "".join(f'<th scope="col" class="text">{title}</th>' for title in titles)
    yield "</tr></thead><tbody>"
    for line in lines:
        yield "<tr>" + "".join(f'<td class="text">{escape(cell)}</td>' for cell in line) + "</tr>"
    yield "</tbody></table></div>"
