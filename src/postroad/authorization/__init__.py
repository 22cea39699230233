"""Access rights: may this client call this service? Pure decisions, no storage and no network."""
