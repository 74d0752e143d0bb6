"""Graders and the process that scores spooled answers; stands alone."""
