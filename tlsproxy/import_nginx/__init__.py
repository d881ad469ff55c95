"""`tlsproxy import-nginx`: an nginx TLS server in, our variables out, and a list of what has none."""
