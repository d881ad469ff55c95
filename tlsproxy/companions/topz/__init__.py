"""topz: a readout like top's for the processes of a pod, over HTTP; it only reads."""
