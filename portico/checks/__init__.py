"""What `portico doctor` looks at."""
