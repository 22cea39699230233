"""Certificates ordered and renewed by ACME."""
