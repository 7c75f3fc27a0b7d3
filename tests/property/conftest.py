"""Properties run without a time limit for each example: the machine may be busy."""

from hypothesis import settings

settings.register_profile("property", deadline=None, max_examples=60)
settings.load_profile("property")
