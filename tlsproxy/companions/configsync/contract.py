"""configsync's surface: what others rely on, for the documents and the tests; nothing of it runs while it serves."""

from collections.abc import Iterator

from tlsproxy.chassis import documents
from tlsproxy.chassis.documents import Entries, Listing, Surface
from tlsproxy.chassis.measures import Measure
from tlsproxy.companions.configsync.settings import Settings
from tlsproxy.companions.configsync.words import WORDS

CONTROL: Entries = {
    "/versions": "GET: what is current and kept, and what became of each, as JSON",
    "/rollback": "POST: publish a version that was good, and don't try the present one again; without `version` the "
    "last one that was good",
    "/pin": "POST: publish `version`, and hold it against whatever comes",
    "/unpin": "POST: take what comes again",
}
QUESTION: Entries = {
    "version": "which",
    "by": "who asks, for the history",
}
ANSWER: Entries = {
    "name": "the version in question; of one that was restored, the one that failed",
    "result": "`rolled back` or `pinned`; `restored` or `failed`: the app was not well, and the version before is "
    "back, or there is none; `untold`: it could not be told; `superseded`: somebody asked for another one meanwhile",
    "detail": "why, for people",
}
OUTCOMES: Entries = {
    "published": "seen by the app, told of, and healthy for the time that was asked for",
    "rejected": "by a check, and never seen",
    "failed": "the app refused it, or was not healthy after it",
    "restored": "took the place of one that failed",
    "rolled back": "published because a person asked for it",
    "pinned": "the same, and held until `unpinned`",
    "unpinned": "no longer held",
    "superseded": "a newer one came before the app had been told of it, or had been watched long enough",
    "undone": "the process was killed in the middle, and the version is no more",
}
COMMAND_VARIABLES: Entries = {
    "CONFIGSYNC_VERSION": "TELL_COMMAND's: the version's name",
    "CONFIGSYNC_DIR": "TELL_COMMAND's: the directory",
    "PATH": "as configsync has it, and so LANG and HOME; nothing else is handed on",
}


def _measures() -> Iterator[Measure]:
    """What is shown at a scrape, before anything has happened."""
    from tlsproxy.companions.configsync.program import measures  # noqa: PLC0415 - loaded for documents only
    from tlsproxy.companions.configsync.sources.progress import Progress  # noqa: PLC0415 - as above
    from tlsproxy.companions.rollout.history import State  # noqa: PLC0415 - as above
    from tlsproxy.companions.rollout.tally import Standing, Tally  # noqa: PLC0415 - as above

    changes = Tally().measures("configsync", Standing(None, (), {}, State()))
    yield from measures(changes, [Progress("")])


def _more() -> tuple[Listing, ...]:
    return (
        Listing("control", "Paths of the control port", CONTROL),
        Listing("control_question", "Fields of a question to it, all optional but for `/pin`", QUESTION),
        Listing("control_answer", "Fields of its answer", ANSWER),
        Listing("outcomes", "What becomes of a version, in the history", OUTCOMES),
        Listing("command_variables", "Variables of a command", COMMAND_VARIABLES),
        Listing(
            "fields_to_the_app",
            "Header fields of the request that tells the app",
            {"Configsync-Version": "the version's name"},
        ),
    )


SURFACE = Surface(
    settings=Settings,
    words=WORDS,
    exit_statuses=documents.EXIT_STATUSES,
    ports={
        "CONFIGSYNC_CONTROL_PORT": "history, rollback and pin, over plain HTTP, for who has the token",
        "CONFIGSYNC_ADMIN_PORT": "probes and Prometheus, over plain HTTP",
    },
    endpoints=documents.endpoints(
        started="there is a version: an app that starts finds its files",
        ready="the app has a version, all sources answer, and no change has stood still for STALE_AFTER",
        status="the versions and their history, the sources",
    ),
    signals={**documents.SIGNALS, "SIGHUP": "ask all sources at once"},
    measures=_measures,
    free_labels=frozenset({"source"}),
    more=_more,
)
