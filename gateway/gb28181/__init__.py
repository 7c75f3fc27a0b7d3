"""GB/T 28181: messages, registrar, catalogue, invitations; the pure machines and the services that drive them."""
