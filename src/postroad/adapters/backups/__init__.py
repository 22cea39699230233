"""Backups of a server: what is in one, how it is sealed, and how it is put back.

The same for every kind of server; the services say what belongs to theirs.
"""
