"""Gates: evidence in, verdict out; nothing here knows a clock, dice or a network."""
