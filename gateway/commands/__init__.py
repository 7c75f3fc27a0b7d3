"""The commands of `gateway`, one module each; `gateway.cli` mounts them."""
