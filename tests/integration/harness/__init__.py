"""What the integration tests stand on. Python's standard library only; one noun a module."""
