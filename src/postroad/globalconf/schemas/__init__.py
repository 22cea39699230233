"""XML Schemas of anchors and configuration parts, flattened: one file per kind and version."""
