"""What is said of OUTPUT from its record: how far it is, and what the next run would make."""
