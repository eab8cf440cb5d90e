"""What this process may use of the machine: processors and memory, as the system and a container grant them."""
