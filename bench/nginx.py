"""nginx's two parts: a front in its best sensible configuration, and the app behind all fronts."""

import os
from dataclasses import dataclass
from pathlib import Path

from bench.certificate import Certificate

# Buffering off with a buffer of 64 KiB is what nginx is fastest with at 1 MB. Its default, eight buffers of
# 4 KiB, takes 1.7 times the CPU there; small answers cost the same.
FRONT = """
{preamble}
http {{
    {temporary_paths}
    keepalive_timeout 1h;
    log_format bench '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                     '"$http_referer" "$http_user_agent" resumed=$ssl_session_reused';
    access_log {log} bench buffer=64k flush=1s;
    keepalive_requests 1000000000;
    client_max_body_size 0;

    # An empty value sends no Connection field, and so keeps the connection to the app alive.
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        "" "";
    }}

    upstream app {{
        server 127.0.0.1:{app_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}

    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:bench:10m;
        ssl_session_tickets on;

        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto https;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_buffer_size 64k;
            proxy_buffers 4 64k;
            proxy_busy_buffers_size 128k;
        }}
    }}
}}
"""

APP = """
{preamble}
http {{
    {temporary_paths}
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=16;

    # A request with this field is answered by a head that no other answer has.
    map $http_x_distinct $distinct {{
        default $request_id;
        "" "";
    }}
    add_header X-Distinct $distinct;

    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        default_type text/plain;

        # The whole body is read before the answer, which is another request's to this server.
        location = {upload} {{
            client_max_body_size 0;
            client_body_buffer_size 2m;
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:{port}/1;
        }}
    }}
}}
"""

# The front's log is complete this many seconds after a request.
LOG_DELAY = 1.2

PREAMBLE = """
daemon off;
{user}
worker_processes 1;
pid {pid};
error_log stderr warn;
events {{
    worker_connections 16384;
    multi_accept on;
}}
"""


@dataclass(frozen=True)
class Handshakes:
    """How connections began: with a full handshake, or with the session of an earlier one."""

    full: int
    resumed: int


def front_configuration(directory: Path, port: int, app_port: int, certificate: Certificate, log: Path) -> str:
    """TLS in front of the app, with keep-alive to it, tickets, forwarded headers and a buffered access log.

    The log's last field tells resumed handshakes (`resumed=r`) from full ones (`resumed=.`).
    """
    return FRONT.format(
        preamble=_preamble(directory),
        temporary_paths=_temporary_paths(directory),
        log=log,
        port=port,
        app_port=app_port,
        chain=certificate.chain,
        key=certificate.key,
    )


def app_configuration(directory: Path, port: int, root: Path, upload: str) -> str:
    """Files of `root`, from the page cache, and `upload`, which takes any body and answers with the file `1`."""
    return APP.format(
        preamble=_preamble(directory),
        temporary_paths=_temporary_paths(directory),
        port=port,
        root=root,
        upload=upload,
    )


def command(program: str, directory: Path, configuration: str) -> list[str]:
    """Writes the configuration into the directory; returns what starts nginx with it in the foreground."""
    path = directory / "nginx.conf"
    path.write_text(configuration)
    return [program, "-p", str(directory), "-e", "stderr", "-c", str(path)]


def handshakes(log: str) -> Handshakes:
    """The count, from a front's log of requests that each came over a connection of its own."""
    return Handshakes(full=log.count("resumed=.\n"), resumed=log.count("resumed=r\n"))


def _preamble(directory: Path) -> str:
    """A worker of root's is root too: it must read what lies in a private directory."""
    return PREAMBLE.format(user="user root;" if os.geteuid() == 0 else "", pid=directory / "nginx.pid")


def _temporary_paths(directory: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {directory / kind};" for kind in kinds)
