"""The HTTP API: one package per API family; controllers only translate."""
