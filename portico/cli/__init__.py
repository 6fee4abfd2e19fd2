"""What the command lines of the services share: RPC in plain Python, output for people and scripts, exit codes."""
