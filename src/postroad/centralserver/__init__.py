"""The Central Server: keeps an instance's registry and publishes it as signed configuration."""
