"""Service descriptions: reading them, and bringing the server configuration up to them."""
