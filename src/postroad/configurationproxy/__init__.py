"""The configuration proxy: downloads configuration as a client, signs and serves it anew."""
