"""A fleet of simulated devices that speaks real SIP and sends real video."""
