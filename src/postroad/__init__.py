"""Postroad: a secure data exchange layer that speaks the X-Road protocol."""

__version__ = "0.1.0"
