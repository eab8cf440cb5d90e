"""A run whose photos are made by other processes: actors of Ray on many machines, or one process for each GPU."""
