"""The operator's own API under /gb/v1: what the page and diagnosis need. Errors are problem+json."""
