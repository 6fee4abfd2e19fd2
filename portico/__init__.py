"""`portico`: one command line over the three services."""
