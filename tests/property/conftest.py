"""Fewer examples: each is long."""

from hypothesis import settings

settings.register_profile("property", settings.get_profile("busy"), max_examples=60)
settings.load_profile("property")
