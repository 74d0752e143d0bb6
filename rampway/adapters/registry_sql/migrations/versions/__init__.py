"""One file per schema; a published one is never edited."""
