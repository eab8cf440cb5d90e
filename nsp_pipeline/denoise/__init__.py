"""One photo through one engine: tiles, blend, plausibility; what a library user calls."""
