//! What a client calls itself: `User-Agent` of HTTP (RFC 9110 §10.1.5) and RTSP (RFC 2326 §12.41), `flashVer` of RTMP's
//! `connect` (§7.2.1.1).

/// Characters of it that are kept: it is shown to people, and nothing is decided by it.
pub const AGENT_MAX: usize = 256;

/// As much of it as is kept, without characters that steer terminals.
pub fn agent(said: &str) -> String {
    said.chars().filter(|letter| !letter.is_control()).take(AGENT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_short_and_can_be_shown() {
        assert_eq!(agent("LNX 9,0,124,2"), "LNX 9,0,124,2");
        assert_eq!(agent("a\u{1b}[31m\tplayer\u{9b}"), "a[31mplayer");
        assert_eq!(agent(&"ä".repeat(300)), "ä".repeat(AGENT_MAX));
    }
}
