"""Certificates, from files to live TLS connections; knows nothing of HTTP."""
