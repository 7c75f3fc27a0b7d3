"""Streams sent as RTP to platforms and devices."""
