"""The words of configsync's command line: its verbs besides those that every sidecar has."""

from tlsproxy.chassis.verbs import Verbs, Words


def _add(verbs: Verbs) -> None:
    verbs.add("history", "the versions that there are, and what became of each")
    back = verbs.add("rollback", "publish a version that was good, and don't try the present one again")
    back.add_argument("version", nargs="?", metavar="VERSION", help="which; by default the last one before the present")
    pin = verbs.add("pin", "publish a version, and hold it against whatever comes")
    pin.add_argument("version", metavar="VERSION", help="which")
    verbs.add("unpin", "take what comes again")


WORDS = Words(
    program="configsync",
    does="A configuration API in, files and a word to the app out.",
    epilog="Everything is set by variables; the two that matter are CONFIGSYNC_SOURCES, where the files come from, and "
    "CONFIGSYNC_TELL, how the app hears of a change. `configsync config` shows them all.",
    checks="ask each source once, hold what comes to its formats, look at volume and ports, and exit",
    demonstrates="a configuration API, an app that reads a file, and what becomes of good and bad changes",
    add=_add,
)
