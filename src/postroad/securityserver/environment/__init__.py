"""Monitoring of the environment: how the machine, our processes and our certificates are doing."""
