"""The durable story of a release, deterministic."""
