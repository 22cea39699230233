"""Global configuration (PR-GCONF): anchors, signed directories and the parts they list."""
