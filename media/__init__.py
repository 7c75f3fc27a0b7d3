"""The Python face of the relay."""
