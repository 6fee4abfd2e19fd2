"""Host applications in other libraries and languages, written from docs/integration.md alone, and what they do on the real broker."""
