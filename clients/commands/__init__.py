"""The verbs of the rampway command, one file per kind of work."""
