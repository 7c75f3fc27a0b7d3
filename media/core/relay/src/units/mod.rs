//! Units for whoever works on them outside the shards: [`Subscription`] reads a stream's, [`UnitFeed`] makes a stream of
//! others'. Both are bounded and never wait; both are for the binding, which knows neither tokio nor shards.

mod feed;
mod queue;
mod subscription;

pub(crate) use self::{
    feed::carry,
    queue::{Queue, UnitTap},
};
pub use self::{
    feed::{Fresh, UnitFeed},
    subscription::{Item, Subscribe, Subscription},
};
