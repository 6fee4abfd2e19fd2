"""What did not go out while a business observed: read, counted, written down, and accepted afterwards."""
