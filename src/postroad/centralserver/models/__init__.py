"""The tables of the registry, one module per topic (reference: Central Server data model)."""
