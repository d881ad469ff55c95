"""`tlsproxy demo`: the sidecar in front of a small legacy app, with a rotation of its certificate under load."""

from tlsproxy.demo.story import demo

__all__ = ["demo"]
