"""Where the legacy app listens: a value that the rooms share, and nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AppAddress:
    """An address and a port, or a unix socket."""

    host: str = "127.0.0.1"
    """A name or an address; a name is resolved anew for each connection."""
    port: int = 8080
    socket: str = ""
    """Path of a unix socket; when set, host and port are not used."""

    @property
    def authorities(self) -> frozenset[str]:
        """How the app may name itself in a URL: nothing that a client of ours could reach; empty for a unix socket."""
        if self.socket:
            return frozenset()
        host = f"[{self.host}]" if ":" in self.host else self.host
        ports = {f":{self.port}"} | ({""} if self.port == 80 else set())
        return frozenset(name.lower() + port for name in (host, "localhost", "127.0.0.1", "[::1]") for port in ports)

    def __str__(self) -> str:
        if self.socket:
            return f"unix:{self.socket}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
