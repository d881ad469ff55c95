"""`python -m tlsproxy`: the same as the `tlsproxy` command."""

import sys

from tlsproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
