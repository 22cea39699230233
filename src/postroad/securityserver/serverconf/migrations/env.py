"""Alembic's entry point for the server configuration's schema."""

from __future__ import annotations

from postroad.adapters.database import run_migrations
from postroad.securityserver.serverconf.models import Base

run_migrations(Base.metadata)
