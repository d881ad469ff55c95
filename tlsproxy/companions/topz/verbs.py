"""The words of topz's command line."""

from tlsproxy.chassis.verbs import Verbs, Words


def _add(verbs: Verbs) -> None:
    port_help = "the page's port; 0 (the default) takes a free one"
    verbs["demo"].add_argument("--port", type=int, default=0, help=port_help)


WORDS = Words(
    program="topz",
    does="The processes of a pod like top, over HTTP.",
    epilog="Everything is set by variables; the two that matter are TOPZ_TOKEN_FILE, without which the page is on "
    "127.0.0.1 alone, and TOPZ_PORT. `topz config` shows them all.",
    checks="tell what `run` would do with these settings, and what it would see, and exit",
    demonstrates="a few processes as a pod has them, and what topz shows of them",
    add=_add,
)
