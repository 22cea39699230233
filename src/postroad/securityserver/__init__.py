"""The Security Server."""
