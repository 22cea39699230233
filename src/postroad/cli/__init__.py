"""Front doors: the command line."""
