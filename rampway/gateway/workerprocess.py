"""`python -m rampway.gateway.workerprocess SLOT CHANNEL PORT` starts a worker without what it does not need."""

import sys

if __name__ == "__main__":
    # A worker writes its log as JSON; structlog would load rich for colours, 3 MiB in each of them.
    sys.modules["rich"] = None  # type: ignore[assignment] # pyright: ignore[reportArgumentType] - an import then fails

    from rampway.gateway.worker import main

    main()
