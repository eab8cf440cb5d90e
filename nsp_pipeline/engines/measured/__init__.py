"""Which engine is the fastest on this machine: measured once, kept in the cache."""
