"""The fault suite: whole systems of real processes, broken in every way we know, and counted."""
