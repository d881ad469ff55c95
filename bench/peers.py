"""The others, each in the best sensible configuration found: one core, keep-alive to the app, request lines on.

To add a peer: a function that returns its Launch, and a line in PEERS.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import nginx
from bench.fronts import MALLOC, Front, Launch, Place
from bench.machine import program

NGINX = "nginx"
HAPROXY = "haproxy"
CADDY = "caddy"
PLAIN = "plain aiohttp"
MITMPROXY = "mitmproxy"
PROXY_PY = "proxy.py"
HITCH = "hitch"
STUNNEL = "stunnel"

# As it is by default: one worker, and of the log only errors.
HITCH_CONFIGURATION = """
frontend = "[127.0.0.1]:{port}"
backend = "[127.0.0.1]:{app_port}"
pem-file = {{ cert = "{chain}" private-key = "{key}" }}
workers = 1
backlog = 4096
daemon = off
log-level = 1
{user}
"""

# Without TCP_NODELAY small answers wait for acknowledgements.
STUNNEL_CONFIGURATION = """
foreground = yes
pid =
syslog = no
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[app]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{app_port}
cert = {chain}
key = {key}
TIMEOUTclose = 0
"""

HAPROXY_GLOBAL = """
global
    nbthread 1
    ssl-load-extra-del-ext
    log stdout format raw local0 info
"""

# Buffers of 128 KiB are what haproxy is fastest with; its default, 16 KiB, takes 1.7 times the CPU for uploads.
HAPROXY_TCP = """
    tune.bufsize 131072
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen tcp
    bind 127.0.0.1:{port} ssl crt {chain} backlog 4096
    server app 127.0.0.1:{app_port}
"""

HAPROXY_HTTP = """
    tune.bufsize 65536
defaults
    mode http
    log global
    option httplog
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    timeout tunnel 1h
listen http
    bind 127.0.0.1:{port} ssl crt {chain} backlog 4096
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Real-IP %[src]
    server app 127.0.0.1:{app_port} pool-max-conn -1
"""

CADDY_CONFIGURATION = """
{{
    admin off
    auto_https off
    grace_period 1s
    log {{
        level ERROR
    }}
    servers {{
        protocols h1
    }}
}}
https://:{port} {{
    bind 127.0.0.1
    tls {chain} {key}
    log {{
        output stdout
        format json
        level INFO
    }}
    reverse_proxy 127.0.0.1:{app_port} {{
        transport http {{
            compression off
            keepalive 60s
            keepalive_idle_conns 1024
            keepalive_idle_conns_per_host 1024
        }}
    }}
}}
"""

# What proxy.py's own reverse proxy example is, with our app's address.
PROXY_PY_PLUGIN = """
from proxy.http.server import ReverseProxyBasePlugin
from proxy.http import Url

class App(ReverseProxyBasePlugin):
    def routes(self):
        return [r"/.*"]

    def handle_route(self, request, pattern):
        return Url.from_bytes(b"http://127.0.0.1:{app_port}%s" % request.path)
"""


def launch_nginx(place: Place) -> Launch:
    """Debian's nginx, one worker."""
    log = place.directory / "requests.log"
    configuration = nginx.front_configuration(place.directory, place.port, place.app_port, place.certificate, log)
    return Launch(nginx.command(program("nginx") or "nginx", place.directory, configuration), log)


def launch_haproxy(place: Place) -> Launch:
    """Debian's haproxy, one thread; a line for each request on standard output, as in a container."""
    path = _write(place, "haproxy.cfg", HAPROXY_GLOBAL + HAPROXY_HTTP)
    return Launch([program("haproxy") or "haproxy", "-f", str(path)], place.directory / "requests.log")


def launch_caddy(place: Place) -> Launch:
    """Debian's caddy; Go takes as many threads as there are cores for it."""
    path = _write(place, "Caddyfile", CADDY_CONFIGURATION)
    command = [program("caddy") or "caddy", "run", "--config", str(path), "--adapter", "caddyfile"]
    home = {name: str(place.directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    return Launch(command, place.directory / "requests.log", home)


def launch_plain(place: Place) -> Launch:
    """The proxy of the tutorials, with the same allocator settings as ours."""
    certificate = place.certificate
    command = [sys.executable, "-m", "bench.plain_aiohttp_proxy"]
    arguments = [str(place.port), str(place.app_port), str(certificate.chain), str(certificate.key)]
    return Launch(command + arguments, environment=MALLOC)


def launch_mitmproxy(place: Place) -> Launch:
    """Its reverse mode; bodies are streamed and nothing is kept or shown."""
    pair = place.directory / "pair.pem"
    pair.write_bytes(place.certificate.key.read_bytes() + place.certificate.chain.read_bytes())
    options = {
        "confdir": place.directory,
        "stream_large_bodies": 1,
        "store_streamed_bodies": "false",
        "http2": "false",
        "flow_detail": 0,
        "termlog_verbosity": "error",
    }
    command = [program("mitmdump") or "mitmdump", "--mode", f"reverse:http://127.0.0.1:{place.app_port}"]
    command += ["--listen-host", "127.0.0.1", "--listen-port", str(place.port), "--certs", str(pair)]
    return Launch([*command, *(word for name, value in options.items() for word in ("--set", f"{name}={value}"))])


def launch_proxy_py(place: Place) -> Launch:
    """Its reverse proxy, one worker and one acceptor."""
    _write(place, "bench_app.py", PROXY_PY_PLUGIN)
    command = [program("proxy") or "proxy", "--hostname", "127.0.0.1", "--port", str(place.port)]
    command += ["--num-workers", "1", "--num-acceptors", "1", "--backlog", "4096", "--log-level", "ERROR"]
    command += ["--cert-file", str(place.certificate.chain), "--key-file", str(place.certificate.key)]
    command += ["--data-dir", str(place.directory), "--disable-http-proxy"]
    command += ["--enable-reverse-proxy", "--plugins", "bench_app.App"]
    return Launch(command, environment={"PYTHONPATH": str(place.directory)})


def launch_hitch(place: Place) -> Launch:
    """Debian's hitch, which does nothing else."""
    # It will not have its worker run as root.
    user = 'user = "nobody"' if os.geteuid() == 0 else ""
    path = _write(place, "hitch.conf", HITCH_CONFIGURATION, user=user)
    return Launch([program("hitch") or "hitch", f"--config={path}"])


def launch_stunnel(place: Place) -> Launch:
    """Debian's stunnel, a thread for each connection."""
    return Launch([program("stunnel4") or "stunnel4", str(_write(place, "stunnel.conf", STUNNEL_CONFIGURATION))])


def launch_haproxy_tcp(place: Place) -> Launch:
    """Debian's haproxy in its tcp mode, one thread."""
    path = _write(place, "haproxy.cfg", HAPROXY_GLOBAL + HAPROXY_TCP)
    return Launch([program("haproxy") or "haproxy", "-f", str(path)])


def _write(place: Place, name: str, template: str, **values: object) -> Path:
    path = place.directory / name
    own = {"port": place.port, "app_port": place.app_port}
    chain, key = place.certificate.chain, place.certificate.key
    path.write_text(template.format(**own, chain=chain, key=key, **values))
    return path


@dataclass(frozen=True)
class Peer:
    """A front that may be there.

    Attributes:
        option: its name on the command line.
        program: what must be installed; None: nothing.
        front: how it is started.
        quick: whether a quick run has time for it.
    """

    option: str
    program: str | None
    front: Front
    quick: bool = False


PEERS = (
    Peer("nginx", "nginx", Front(NGINX, ours=False, launch=launch_nginx), quick=True),
    Peer("haproxy", "haproxy", Front(HAPROXY, ours=False, launch=launch_haproxy)),
    Peer("caddy", "caddy", Front(CADDY, ours=False, launch=launch_caddy)),
    Peer("plain", None, Front(PLAIN, ours=False, launch=launch_plain), quick=True),
    Peer("mitmproxy", "mitmdump", Front(MITMPROXY, ours=False, launch=launch_mitmproxy)),
    Peer("proxy.py", "proxy", Front(PROXY_PY, ours=False, launch=launch_proxy_py)),
    Peer("hitch", "hitch", Front(HITCH, ours=False, launch=launch_hitch, mode="tcp"), quick=True),
    Peer("stunnel", "stunnel4", Front(STUNNEL, ours=False, launch=launch_stunnel, mode="tcp")),
    Peer("haproxy", "haproxy", Front(f"{HAPROXY} tcp", ours=False, launch=launch_haproxy_tcp, mode="tcp")),
)
"""In the order of the rounds."""


def installed(wanted: Iterable[str]) -> list[Front]:
    """Those that are wanted, by their names in options, and there."""
    return [peer.front for peer in PEERS if peer.option in wanted and (not peer.program or program(peer.program))]
