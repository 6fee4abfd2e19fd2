"""What runs Portico on this machine: the whole loop in one process, or as processes on servers of their own."""
