"""The demo's real input: grammar tutors, the cases they are tried on, and the load that asks them."""
