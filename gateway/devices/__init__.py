"""Devices and channels: values and state machines."""
