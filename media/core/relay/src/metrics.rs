//! Counters of the whole core. Each shard has its own set, which it alone writes; a reader adds them up.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// One counter or gauge, written by one thread.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        // One writer: a plain load and store is enough and spares the locked instruction.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)*) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $($(#[$doc])* pub(crate) $field: Counter,)*
        }

        impl Metrics {
            /// Adds all of them to `totals`, by Prometheus name.
            pub(crate) fn add_to(&self, totals: &mut BTreeMap<&'static str, f64>) {
                #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
                {
                    $(*totals.entry($name).or_default() += self.$field.get() as f64;)*
                }
            }
        }
    };
}

metrics! {
    /// Streams that have a receiver.
    streams = "relay_streams",
    /// Raw viewers.
    viewers = "relay_viewers",
    /// RTP packets taken from the network, before any check.
    packets = "relay_packets_received_total",
    /// Their bytes.
    bytes_in = "relay_bytes_received_total",
    /// Packets dropped because of their source or SSRC.
    rejected = "relay_packets_rejected_total",
    /// Datagrams and frames that are no RTP.
    malformed = "relay_packets_malformed_total",
    /// Packets dropped by a receiver's bandwidth cap.
    over_rate = "relay_packets_over_rate_total",
    /// Packets given up by reordering.
    lost = "relay_packets_lost_total",
    /// Access units that came out of demultiplexing.
    units = "relay_units_total",
    /// Bytes written to viewers.
    bytes_out = "relay_bytes_sent_total",
    /// Times a slow viewer was moved to a key frame.
    viewer_skips = "relay_viewer_skips_total",
    /// Viewers closed because they did not drain.
    viewers_stalled = "relay_viewers_stalled_total",
    /// Targets that streams are sent to as RTP.
    senders = "relay_senders",
    /// Senders that ended though nobody closed them.
    senders_failed = "relay_senders_failed_total",
    /// RTP packets sent to targets.
    sender_packets = "relay_sender_packets_total",
    /// Times a slow target was moved to a key frame.
    sender_skips = "relay_sender_skips_total",
    /// Connections that were refused: wrong peer, one too many, no RTP in time.
    connections_refused = "relay_connections_refused_total",
    /// RTCP receiver reports sent.
    rtcp_sent = "relay_rtcp_reports_sent_total",
    /// Packets not copied to a tap because its reader was slow.
    tap_dropped = "relay_tap_packets_dropped_total",
    /// Streams given up because our own code failed.
    panics = "relay_stream_panics_total",
    /// Turns of the event loop.
    turns = "relay_loop_turns_total",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.packets.add(3);
        other.packets.add(4);
        other.viewers.add(2);
        other.viewers.sub(1);
        let mut totals = BTreeMap::new();
        one.add_to(&mut totals);
        other.add_to(&mut totals);
        assert_eq!((totals["relay_packets_received_total"], totals["relay_viewers"]), (7.0, 1.0));
    }
}
