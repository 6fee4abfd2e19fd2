"""What `make bench` runs: load from a process of its own, on real servers, against yardsticks in the same run."""
