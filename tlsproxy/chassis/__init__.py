"""What every sidecar of the family is built on, whatever it does: settings, logs, life, admin port."""
