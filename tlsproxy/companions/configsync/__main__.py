"""`python -m tlsproxy.companions.configsync`, the same as `configsync`."""

import sys

from tlsproxy.companions.configsync.cli import main

if __name__ == "__main__":
    sys.exit(main())
