"""Digests, signatures, certificates, OCSP and time-stamps: pure computation at a given moment."""
