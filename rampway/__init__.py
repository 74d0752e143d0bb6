"""Rampway's library: it releases prompts and models step by step and has never heard of Temporal."""

__version__ = "0.1.0"
