"""Explains captures, program stream files and live channels to a person: sessions, RTP, PS, codecs, oddities.

Everything here is pure but for `command`: bytes in, dataclasses out (`report`), and text made of them (`render`).
"""
