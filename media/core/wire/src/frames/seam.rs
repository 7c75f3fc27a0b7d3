//! Where one frame may end and another one begin: what is done there.

use super::{
    Frames,
    cutter::Cutter,
    open::{Seam, begins_inside, begins_with_code},
};

impl Frames {
    /// Decides, once enough bytes are there, whether a PES packet began another frame.
    pub(super) fn split_seam(&mut self) {
        let Some(frame) = &mut self.video else { return };
        let Some(seam) = frame.seam else { return };
        if seam.apart && !begins_with_code(&frame.data[seam.at..]) {
            return self.cut_units();
        }
        frame.seam = None;
        if seam.apart {
            let codec = frame.coding(self.codec, seam.at);
            if begins_inside(codec, &frame.data[seam.at..]) {
                return self.join(seam);
            }
        }
        if !seam.apart && !frame.holds_two(self.codec, seam) {
            return self.endings.breach(seam.tail);
        }
        self.endings.end(seam.tail);
        let mut next = frame.split_off(seam);
        next.damaged = std::mem::take(&mut frame.damaged);
        self.finish_video();
        self.video = Some(next);
    }

    /// A PES packet with a time of its own begins with another slice of the same picture: times tell nothing.
    fn join(&mut self, seam: Seam) {
        self.starts.broken();
        self.endings.breach(seam.tail);
        let Some(frame) = &mut self.video else { return };
        frame.over = false;
        self.events.extend(frame.sound.drain(..));
    }

    /// Pictures were found in one PES packet: from now on NAL units tell them apart.
    pub(crate) fn handle_joined(&mut self) {
        if self.cutter.is_none() && self.video.is_some() {
            self.cut_units();
        }
        self.joined = self.cutter.is_none();
    }

    /// A PES packet with a time of its own begins in the middle of a picture: from now on NAL units tell pictures apart.
    pub(super) fn cut_units(&mut self) {
        let Some(mut frame) = self.video.take() else { return };
        self.events.extend(frame.sound.drain(..));
        self.starts.broken();
        self.endings.handle_gap();
        let damaged = frame.damaged;
        let cutter = self.cutter.insert(Box::new(Cutter::new(self.limit, frame)));
        if damaged {
            cutter.handle_damage(&mut self.events);
        }
        self.cut(&[]);
    }

    pub(super) fn cut(&mut self, bytes: &[u8]) {
        let Some(cutter) = &mut self.cutter else { return };
        cutter.handle_data(bytes, &mut self.codec, &mut self.events);
        if let Some(frame) = cutter.release() {
            self.cutter = None;
            self.video = Some(frame);
        }
    }
}
