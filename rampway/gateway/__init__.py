"""The data plane: sticky router, proxy, shadow copier, traffic log and counters; stands alone."""
