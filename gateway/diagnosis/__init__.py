"""Why there is no picture: what is known of a device and a channel, judged step by step, and what to do about it."""
