"""configsync: the app's configuration follows an API."""
