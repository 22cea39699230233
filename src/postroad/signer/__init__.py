"""The signer: its own process, the only one that stores private keys."""
