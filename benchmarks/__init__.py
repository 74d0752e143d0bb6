"""What the gates were measured to do, and the commands that measure it."""
