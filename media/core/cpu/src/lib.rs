//! What a processor can do that safe Rust cannot ask for: fetch memory ahead of its use, look at many bytes at once. Where a
//! processor lacks the means, the plain way gives the same result.

mod fetch;
mod zeros;

pub use self::{fetch::fetch, zeros::zero_pair};
