"""Streams that are sent on to other servers."""
