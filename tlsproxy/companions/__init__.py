"""The other sidecars of the family: programs of their own on the chassis, of which the proxy knows nothing."""
