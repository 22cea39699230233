"""Operational monitoring: what every exchange leaves, how it is kept, and who may ask for it."""
