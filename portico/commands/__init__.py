"""The commands of `portico`."""
