"""What proves an exchange later: hash chains, signatures, time-stamps, and their containers."""
