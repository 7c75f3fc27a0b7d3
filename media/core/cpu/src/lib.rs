//! What a processor can do that safe Rust cannot ask for: fetch memory ahead of its use, look at many bytes at once. Each
//! function gives the same on every processor, where it is not known in some other way.

mod fetch;
mod zeros;

pub use self::{fetch::fetch, zeros::zero_pair};
