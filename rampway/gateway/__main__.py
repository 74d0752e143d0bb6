"""`python -m rampway.gateway` starts a gateway."""

from rampway.gateway.main import main

main()
