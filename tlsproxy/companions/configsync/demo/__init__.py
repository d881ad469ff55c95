"""`configsync demo`: a configuration API, an app that reads a file at its start, and how changes end."""

from tlsproxy.companions.configsync.demo.story import demo

__all__ = ["demo"]
