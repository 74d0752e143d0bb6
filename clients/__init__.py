"""The rampway command, the typed client and the programs it starts."""
