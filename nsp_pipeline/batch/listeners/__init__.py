"""Listeners, which follow a run as it goes: the terminal and the JSON log."""
