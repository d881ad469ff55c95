"""Sidecars beside the proxy: each a small program of its own on the same chassis."""
