"""`python -m tlsproxy.companions.topz`."""

import sys

from tlsproxy.companions.topz.cli import main

if __name__ == "__main__":
    sys.exit(main())
