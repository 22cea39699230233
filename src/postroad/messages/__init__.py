"""Layer 4: what the messages between the parties say (PR-REST, PR-MESS, PR-MESSTRANSP)."""
