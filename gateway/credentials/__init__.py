"""GB28181 credentials: what devices authenticate with."""
