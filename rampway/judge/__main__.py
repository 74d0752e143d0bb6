"""`python -m rampway.judge`."""

import sys

from rampway.judge.main import main

if __name__ == "__main__":
    sys.exit(main())
