"""The registry's schema over time; run by ``adapters.database.migrate``."""
