"""tlsproxy: the sidecar that gives a legacy service HTTPS."""

__version__ = "0.1.0"
