"""The admin port: health, readiness, status and metrics."""
