"""The words of tlsproxy's command line: its verbs besides those that every sidecar has, and their options."""

from pathlib import Path

from tlsproxy.chassis.verbs import Verbs, Words


def _add(verbs: Verbs) -> None:
    sni_help = "say also what a client is served with that asks for this name; may be given again"
    verbs["check"].add_argument("--sni", action="append", default=[], metavar="NAME", help=sni_help)
    port_help = "HTTPS port; 0 (the default) takes a free one"
    verbs["demo"].add_argument("--port", type=int, default=0, help=port_help)

    dev_cert = verbs.add("dev-cert", "make a development CA and certificate")
    dev_cert.add_argument("directory", type=Path, metavar="DIR", help="where to; made when it is missing")
    dev_cert.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help="names besides localhost, 127.0.0.1 and ::1"
    )
    dev_cert.add_argument("--force", action="store_true", help="replace a pair that is there")

    from tlsproxy.import_nginx import options as import_options  # noqa: PLC0415 - each is of a room of its own
    from tlsproxy.inject import options as inject_options  # noqa: PLC0415

    inject_options.add_options(verbs.add("inject", "a Kubernetes manifest in, the same with the sidecar out"))
    import_options.add_options(verbs.add("import-nginx", "an nginx TLS server in, our variables out"))


WORDS = Words(
    program="tlsproxy",
    does="HTTPS in front of a legacy app, from two variables.",
    epilog="Everything is set by variables; the two that matter are TLSPROXY_CERT_NAME, the certificate's name in "
    "/certs, and TLSPROXY_APP_PORT, the app's port on localhost. `tlsproxy config` shows them all.",
    checks="tell what `run` would do with these settings, certificates and app, and exit",
    demonstrates="a legacy app, a certificate, the sidecar, and a request through it",
    add=_add,
)
