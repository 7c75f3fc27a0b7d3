"""Access strategies: channels that are invited by themselves, at times drawn anew every day (VIS §4.3.4)."""
