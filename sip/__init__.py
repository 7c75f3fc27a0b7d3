"""A general SIP library for asyncio: sans-IO machines first, transports and an `Endpoint` around them.

Knows nothing of GB/T 28181 beyond tolerance for what its devices send.
"""
