"""Whole folders: plan, read, infer, write, record; and take up again where a run stopped."""
