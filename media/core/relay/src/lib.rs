//! The media relay: receivers, hub, servers. Knows nothing of SIP, devices or Python.

pub mod door;
