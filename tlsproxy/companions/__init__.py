"""Sidecars beside the proxy: small programs of their own on the same chassis, of which the proxy knows nothing."""
