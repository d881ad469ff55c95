"""The table of nginx's directives and what becomes of each; the documents' table is made from it."""

from collections.abc import Mapping
from typing import Final

from tlsproxy.import_nginx import conversions as to
from tlsproxy.import_nginx.findings import Carried, Lost, Needless, Remark, Rule, Structure

_STREAMED: Final = Needless("bodies are streamed both ways, never buffered whole")
_PROFILE: Final = Lost(Remark("suites, curves and parameters follow Mozilla's profiles", "see TLSPROXY_TLS_PROFILE"))
_TICKETS: Final = Needless("sessions are resumed by tickets, whose keys no disk sees")
_STAPLING: Final = Lost(Remark("there is no OCSP stapling", "use certificates that live for a short time"))
_FILES: Final = Lost(Remark("no files are served", "let the app serve them, or a web server of their own"))
_REWRITING: Final = Lost(Remark("requests are passed on as they came", "let the app or a gateway do it"))
_COMPRESSION: Final = Lost(Remark("nothing is compressed", "let the app do it, or the ingress"))
_CACHE: Final = Lost(Remark("nothing is cached", "let the app say what clients may keep"))
_RATES: Final = Lost(
    Remark("there are no rates for each client", "let an ingress keep them; see TLSPROXY_APP_CONNECTIONS")
)
_WHO: Final = Lost(Remark("nobody logs in here", "let the app do it, or ask for client certificates"))
_ADDRESSES: Final = Lost(Remark("no addresses are let in or kept out", "use a NetworkPolicy, or client certificates"))
_ONE_APP: Final = Needless("there is one app; what can be sent again without harm is, when it restarts")
_APP_TLS: Final = Lost(Remark("the app is spoken to in plain HTTP", "use the app's plain port, on localhost"))
_OTHER_PROTOCOL: Final = Lost(
    Remark("the app has to speak HTTP/1.1", "let the app's own server listen on an HTTP port")
)
_ERRORS: Final = Lost(Remark("the app's error pages are passed on, and the sidecar's own are plain text"))
_SCRIPTS: Final = Lost(Remark("nothing can be programmed here", "let the app or a gateway do it"))
_BODIES: Final = Lost(Remark("bodies are not changed", "let the app make links without http://"))
_KERNEL: Final = Needless("has no meaning here")
_H2: Final = Lost(
    Remark(
        "clients are spoken to in HTTP/1.1", "HTTP/2 needs TLSPROXY_MODE=tcp, TLSPROXY_ALPN=h2 and an app that has h2c"
    )
)
_RESPONSE_FIELDS: Final = Lost(Remark("the app's response fields are passed on as they are"))

DIRECTIVES: Final[Mapping[str, Rule]] = {
    # --- what is served, and from where
    "server": Structure((), "one TLS server, and others with the same app; --server NAME chooses"),
    "listen": Structure(
        ("LISTEN_PORT", "LISTEN_HOST", "PROXY_PROTOCOL"), "443 becomes the default 8443, which needs no privilege"
    ),
    "server_name": Needless("the certificate's names count, and the app sees the Host"),
    "ssl_certificate": Structure(("CERT_NAME", "CERT_DIR"), "where the files are laid out in one of the known ways"),
    "ssl_certificate_key": Structure(("CERT_NAME", "CERT_DIR"), "beside the certificate"),
    "location": Structure((), "one app gets all paths; what another location does is listed"),
    "proxy_pass": Structure(("APP_PORT", "APP_HOST", "APP_SOCKET", "MODE"), "of `location /`, through `upstream`"),
    "upstream": Structure(
        ("APP_CONNECTIONS", "APP_KEEPALIVE_TIMEOUT"), "its first server; `max_conns` and `keepalive_timeout`"
    ),
    "return": Structure(("REDIRECT_PORT",), "a server in plain HTTP that sends clients to https://"),
    # --- TLS
    "ssl": Needless("the port speaks TLS"),
    "ssl_protocols": Carried(("TLS_PROFILE",), to.protocols),
    "ssl_reject_handshake": Carried(("SNI_STRICT",), to.chosen("SNI_STRICT", {"on": "on"})),
    "ssl_handshake_timeout": Carried(("HANDSHAKE_TIMEOUT",), to.duration("HANDSHAKE_TIMEOUT")),
    "ssl_alpn": Carried(("ALPN",), to.alpn),
    "ssl_verify_client": Carried(("CLIENT_AUTH",), to.client_verification),
    "ssl_client_certificate": Carried(("CLIENT_CA",), to.client_ca),
    "ssl_crl": Lost(Remark("revocation lists have no variable", "put them beside the CA's file, with the ending .crl")),
    "ssl_verify_depth": Lost(Remark("the chain of a client's certificate may be of any length")),
    "ssl_trusted_certificate": _STAPLING,
    "ssl_stapling*": _STAPLING,
    "ssl_ocsp*": _STAPLING,
    "resolver*": Needless("names are resolved by the system, and again as their answers change"),
    "ssl_ciphers": _PROFILE,
    "ssl_prefer_server_ciphers": _PROFILE,
    "ssl_ecdh_curve": _PROFILE,
    "ssl_dhparam": _PROFILE,
    "ssl_conf_command": _PROFILE,
    "ssl_session_*": _TICKETS,
    "ssl_buffer_size": _STREAMED,
    "ssl_early_data": Lost(Remark("there is no 0-RTT data, which could be replayed")),
    "ssl_password_file": Lost(Remark("keys are not encrypted", "have the Secret keep them")),
    "ssl_preread": Lost(Remark("TLS is taken off here, and not looked through")),
    "http2*": _H2,
    "http3*": _H2,
    "quic*": _H2,
    # --- deadlines and limits
    "client_header_timeout": Carried(("HEAD_TIMEOUT",), to.duration("HEAD_TIMEOUT")),
    "client_body_timeout": Carried(("BODY_TIMEOUT",), to.duration("BODY_TIMEOUT")),
    "send_timeout": Carried(("BODY_TIMEOUT",), to.duration("BODY_TIMEOUT"), "the longer one of the two"),
    "keepalive_timeout": Carried(("KEEPALIVE_TIMEOUT",), to.duration("KEEPALIVE_TIMEOUT")),
    "keepalive_*": Needless("a connection is kept as long as it is used; see TLSPROXY_CERT_ROTATION_GRACE"),
    "proxy_connect_timeout": Carried(("CONNECT_TIMEOUT",), to.duration("CONNECT_TIMEOUT")),
    "proxy_read_timeout": Carried(
        ("RESPONSE_TIMEOUT",), to.duration("RESPONSE_TIMEOUT"), "WebSockets have TLSPROXY_TUNNEL_TIMEOUT of their own"
    ),
    "proxy_send_timeout": Needless("TLSPROXY_RESPONSE_TIMEOUT bounds that too"),
    "proxy_protocol_timeout": Needless("TLSPROXY_HANDSHAKE_TIMEOUT bounds that too"),
    "proxy_ignore_client_abort": Lost(
        Remark("when a client leaves, the app's connection is cut", "let the app finish its work without one")
    ),
    "proxy_timeout": Carried(("TUNNEL_TIMEOUT",), to.duration("TUNNEL_TIMEOUT"), "of stream servers"),
    "client_max_body_size": Carried(
        ("MAX_BODY",), to.size("MAX_BODY"), "nginx has 1m where nothing is written; here there is no limit then"
    ),
    "large_client_header_buffers": Carried(("MAX_HEAD",), to.header_buffers, "number times size"),
    "client_header_buffer_size": Needless("TLSPROXY_MAX_HEAD is the limit"),
    "limit_req*": _RATES,
    "limit_conn*": _RATES,
    "limit_rate*": _RATES,
    "worker_processes": Carried(("WORKERS",), to.workers, "a number; one process is enough for most apps"),
    "worker_*": Needless("TLSPROXY_MAX_CONNECTIONS is the limit, and open files are raised to fit"),
    # --- who asked
    "proxy_set_header": Carried(
        (), to.forwarded_field, "Host is kept; X-Forwarded-*, Forwarded and X-Real-IP are told anyway"
    ),
    "set_real_ip_from": Carried(("TRUSTED_PROXIES",), to.real_ip_from),
    "real_ip_header": Carried(("PROXY_PROTOCOL",), to.real_ip_header),
    "real_ip_recursive": Needless("addresses of trusted proxies are passed over, however many there are"),
    "proxy_protocol": Carried(
        ("PROXY_PROTOCOL",), to.chosen("PROXY_PROTOCOL", {"on": "send"}), "of stream servers; version 2"
    ),
    "auth_*": _WHO,
    "satisfy": _WHO,
    "allow": _ADDRESSES,
    "deny": _ADDRESSES,
    "geo": _ADDRESSES,
    "geoip*": _ADDRESSES,
    "limit_except": _WHO,
    "secure_link*": _WHO,
    "valid_referers": _WHO,
    # --- responses
    "add_header": Carried(("HSTS",), to.header, "Strict-Transport-Security alone"),
    "proxy_redirect": Carried(("FIX_REDIRECTS",), to.redirect),
    "proxy_cookie_flags": Carried(("COOKIE_SECURE",), to.cookie_flags, "`secure` alone"),
    "proxy_cookie_path": Carried(("COOKIE_SECURE",), to.cookie_path, "where it is used to add `secure`"),
    "proxy_cookie_domain": Lost(Remark("cookies keep their domain", "let the app know its public name")),
    "more_set_headers": _RESPONSE_FIELDS,
    "more_clear_headers": _RESPONSE_FIELDS,
    "proxy_hide_header": _RESPONSE_FIELDS,
    "proxy_pass_header": Needless("all of the app's fields are passed on"),
    "proxy_ignore_headers": Needless("no field of the app's is acted upon"),
    "error_page": _ERRORS,
    "proxy_intercept_errors": _ERRORS,
    "sub_filter*": _BODIES,
    "ssi*": _BODIES,
    "gzip*": _COMPRESSION,
    "brotli*": _COMPRESSION,
    "gunzip": _COMPRESSION,
    "proxy_cache*": _CACHE,
    "proxy_no_cache": _CACHE,
    "proxy_store*": _CACHE,
    "expires": _CACHE,
    "server_tokens": Needless("no Server field is added"),
    # --- how it is passed on
    "proxy_buffer*": _STREAMED,
    "proxy_busy_buffers_size": _STREAMED,
    "proxy_request_buffering": _STREAMED,
    "postpone_output": _STREAMED,
    "output_buffers": _STREAMED,
    "proxy_max_temp_file_size": _STREAMED,
    "proxy_temp*": _STREAMED,
    "client_body_buffer_size": _STREAMED,
    "client_body_temp_path": _STREAMED,
    "proxy_http_version": Needless("HTTP/1.1, with connections that are kept"),
    "proxy_next_upstream*": _ONE_APP,
    "proxy_socket_keepalive": _KERNEL,
    "proxy_ssl*": _APP_TLS,
    "grpc_*": Lost(Remark("http mode has no HTTP/2", "gRPC needs TLSPROXY_MODE=tcp and TLSPROXY_ALPN=h2")),
    "fastcgi_*": _OTHER_PROTOCOL,
    "uwsgi_*": _OTHER_PROTOCOL,
    "scgi_*": _OTHER_PROTOCOL,
    "memcached_*": _OTHER_PROTOCOL,
    "proxy_bind": _KERNEL,
    "underscores_in_headers": Needless("such fields are passed on, but not those that could pass for ours"),
    "merge_slashes": Needless("the request's target is passed on as it came"),
    "root": _FILES,
    "alias": _FILES,
    "index": _FILES,
    "try_files": _FILES,
    "autoindex*": _FILES,
    "rewrite": _REWRITING,
    "if": _REWRITING,
    "set": _REWRITING,
    "map": Carried((), to.mapped, "WebSockets need none; what another one is for is not done"),
    "mirror*": _REWRITING,
    "internal": _REWRITING,
    "proxy_method": _REWRITING,
    "proxy_set_body": _REWRITING,
    "proxy_pass_request_*": _REWRITING,
    "split_clients": _REWRITING,
    "lua_*": _SCRIPTS,
    "*_by_lua*": _SCRIPTS,
    "js_*": _SCRIPTS,
    "perl*": _SCRIPTS,
    "modsecurity*": Lost(Remark("requests are not judged by their content", "put a gateway that does in front")),
    # --- logs and the rest
    "access_log": Carried(
        ("ACCESS_LOG", "LOG_FORMAT"), to.access_log, "`off`, or the combined format; always to standard output"
    ),
    "error_log": Carried(("LOG_LEVEL",), to.error_log, "the level; always to standard error"),
    "log_format": Lost(Remark("request lines are JSON or in the Combined Log Format", "see TLSPROXY_LOG_FORMAT")),
    "log_not_found": _KERNEL,
    "stub_status": Needless("/status and /metrics of the admin port"),
    "health_check*": Needless("/readyz asks the app; see TLSPROXY_APP_CHECK"),
    "status_zone": Needless("/status and /metrics of the admin port"),
    "types*": _KERNEL,
    "default_type": _KERNEL,
    "charset*": _KERNEL,
    "sendfile*": _KERNEL,
    "tcp_*": _KERNEL,
    "aio": _KERNEL,
    "open_file_cache*": _KERNEL,
    "lingering_*": _KERNEL,
    "reset_timedout_connection": _KERNEL,
    "server_names_hash_*": _KERNEL,
    "map_hash_*": _KERNEL,
    "variables_hash_*": _KERNEL,
    "proxy_headers_hash_*": _KERNEL,
    "etag": _KERNEL,
    "if_modified_since": _KERNEL,
    "directio*": _KERNEL,
    "pcre_jit": _KERNEL,
    "thread_pool": _KERNEL,
    "env": _KERNEL,
    "absolute_redirect": _KERNEL,
    "port_in_redirect": Needless("see TLSPROXY_EXTERNAL_PORT"),
    "ignore_invalid_headers": _KERNEL,
    "recursive_error_pages": _ERRORS,
    "user": Needless("the image runs as nobody"),
    "pid": _KERNEL,
    "daemon": _KERNEL,
    "master_process": _KERNEL,
    "load_module": _KERNEL,
    "events": _KERNEL,
    "http": Structure((), "what stands in it holds for its servers"),
    "stream": Structure(("MODE",), "its servers become MODE=tcp"),
    "include": Structure((), "is followed where the file is there"),
}
"""By name; a star stands for any letters, and a whole name goes before it."""


def rule_for(name: str) -> Rule | None:
    """The rule for a directive; None for one that is not known here."""
    if name in DIRECTIVES:
        return DIRECTIVES[name]
    return next((rule for pattern, rule in DIRECTIVES.items() if "*" in pattern and _fits(pattern, name)), None)


def _fits(pattern: str, name: str) -> bool:
    head, *inner, tail = pattern.split("*")
    return name.startswith(head) and name.endswith(tail) and all(part in name for part in inner)


def table() -> str:
    """The table for the documents, in Markdown."""
    rows = [f"| `{name}` | {_variables(rule)} | {_note(rule)} |" for name, rule in DIRECTIVES.items()]
    return "\n".join(["| nginx | variable | |", "|---|---|---|", *rows]) + "\n"


def _variables(rule: Rule) -> str:
    if isinstance(rule, Lost):
        return "none"
    names = rule.variables if isinstance(rule, Carried | Structure) else ()
    return ", ".join(f"`{name}`" for name in names)


def _note(rule: Rule) -> str:
    return str(rule.remark) if isinstance(rule, Lost) else rule.note
