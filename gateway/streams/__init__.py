"""Streams as the API shows them, and their play addresses."""
