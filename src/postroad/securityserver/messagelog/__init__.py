"""The message log: every signed message is kept, time-stamped later and proven on demand."""
