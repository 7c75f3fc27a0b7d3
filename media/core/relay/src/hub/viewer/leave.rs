//! How a viewer is told that nothing more comes.

use std::io::IoSlice;

use bytes::Bytes;
use wire::{
    rtmp::farewell,
    websocket::{Opcode, control_frame},
};

use super::{Framing, Viewer};

impl Viewer {
    /// Tells a client that the stream is over (RFC 6455 §7.4.1: going away), if its socket is between two messages and
    /// has room. A plain client sees the end of the connection; `goodbye` is for those who are sent packets.
    pub(crate) fn take_leave(&mut self, goodbye: &Bytes) {
        if self.begun.is_some() || self.answer.is_some() || self.closing {
            return;
        }
        let last = match &mut self.framing {
            Framing::Plain => return,
            Framing::Rtsp(player) => match &player.datagrams {
                Some(datagrams) => return datagrams.part(goodbye.clone(), &self.socket),
                None => goodbye.to_vec(),
            },
            Framing::WebSocket(_) => control_frame(Opcode::Close, &1001_u16.to_be_bytes()),
            Framing::Rtmp(_) => farewell(),
            Framing::Push(pushed) => pushed.farewell(goodbye),
        };
        // Whoever cannot be told finds the connection closed.
        let _ = self.send(&[IoSlice::new(&last)], self.progress);
    }

    /// Sends it away: at once, or, a server that we push to, behind the chunk that it is in the middle of. Whether it is
    /// gone.
    pub(crate) fn dismiss(&mut self, goodbye: &Bytes) -> bool {
        // A pair of sockets on this machine takes a chunk whole or not at all: then nothing has begun, and there is no room.
        let busy = self.begun.is_some() || self.answer.is_some() || self.blocked;
        if let Framing::Push(pushed) = &mut self.framing
            && busy
            && !self.closing
        {
            let last = pushed.farewell(goodbye);
            self.closing = true;
            return self.owe(&last).is_err();
        }
        self.take_leave(goodbye);
        true
    }
}
