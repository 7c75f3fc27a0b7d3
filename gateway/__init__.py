"""The domain: GB/T 28181, devices, streams, storage; everything that decides."""
