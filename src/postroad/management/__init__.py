"""Management requests: how servers ask the Central Server to change the registry (PR-MSERV)."""
