"""The server configuration: clients, services, endpoints, access rights, local groups."""
