"""Who is told of a run as it goes: the terminal, a JSON log."""
