"""A certification authority, OCSP responder and time-stamping authority for tests and trials."""
