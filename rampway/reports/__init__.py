"""Records and verdicts rendered for people."""
