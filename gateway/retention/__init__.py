"""Retention (VIS §4.2.4): streams are recorded in slices, spooled, stored in a bucket or directory, expired."""
