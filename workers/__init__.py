"""Wiring: settings to adapters to activities to Temporal workers."""
