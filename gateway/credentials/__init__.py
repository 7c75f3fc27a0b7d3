"""Credentials: what GB28181 devices authenticate with, and the keys that RTMP streams are pushed with."""
