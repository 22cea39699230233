"""Schema changes of the server configuration, run by Alembic at every start."""
