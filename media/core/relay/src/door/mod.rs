//! The front door: the one public HTTP port. It serves live media, and passes on whatever else is asked.

mod directory;

pub use directory::{Access, Directory, Feed, Framing, Viewer};
