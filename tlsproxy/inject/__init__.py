"""`tlsproxy inject`: a Kubernetes manifest in, the same manifest with the sidecar out, byte for byte but for that."""
