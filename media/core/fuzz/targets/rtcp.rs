//! RTCP compounds: read to the end or to the first nonsense, and what is written reads back.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use wire::{
    rtcp::{Message, Reporter, messages},
    rtp::Statistics,
};

fuzz_target!(|data: &[u8]| {
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    assert!(messages(data).count() <= data.len() / 4);
    let mut reporter = Reporter::new(1, String::from_utf8_lossy(data));
    for message in messages(data) {
        if let Message::SenderReport { ntp, .. } = message {
            reporter.handle_sender_report(now, ntp);
        }
    }
    let report = reporter.report(now, 2, &mut Statistics::new(90_000));
    let mut read = messages(&report);
    assert_eq!(read.next(), Some(Message::ReceiverReport { ssrc: 1 }));
    assert!(matches!(read.next(), Some(Message::Description { ssrc: 1, cname: Some(_) })));
    assert_eq!(read.next(), None);
});
