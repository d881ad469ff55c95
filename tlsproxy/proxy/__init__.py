"""One request's way through, from the client to the app and back; knows nothing of files or certificates."""
