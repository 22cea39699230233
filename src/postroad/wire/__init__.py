"""Wire: other people's syntax, streamed and free of meaning."""
