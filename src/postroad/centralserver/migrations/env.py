"""Alembic's entry point for the registry's schema."""

from __future__ import annotations

from postroad.adapters.database import run_migrations
from postroad.centralserver.models.schema import registry_metadata

run_migrations(registry_metadata())
