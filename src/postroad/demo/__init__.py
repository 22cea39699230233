"""The demo: a whole ecosystem on one machine, set up through the same doors that operators use."""
