"""configsync: a file that an app reads at start follows a configuration API."""
