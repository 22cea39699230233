"""Whether this server can do its work now, and figures of how it does it, for other machines."""
