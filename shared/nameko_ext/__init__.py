"""Our extensions of nameko: what its framework lacks for work that is not lost, and never hangs."""
