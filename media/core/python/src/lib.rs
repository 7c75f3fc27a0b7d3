//! The binding of the relay to Python: it translates, and nothing else. What the names mean is said in
//! `media/_core.pyi`.
#![expect(missing_docs, reason = "every name is documented once, in media/_core.pyi")]

mod core;
mod event;
mod files;
mod inspect;
mod push;
mod record;
mod send;
mod stream;
mod tap;
mod units;
mod viewer;

use pyo3::{create_exception, exceptions::PyException, prelude::*};

create_exception!(media._core, CoreError, PyException);
create_exception!(media._core, UnknownReceiverError, CoreError);

/// Our errors as Python's.
fn error(error: relay::Error) -> PyErr {
    match error {
        relay::Error::UnknownReceiver(_) => UnknownReceiverError::new_err(error.to_string()),
        error => CoreError::new_err(error.to_string()),
    }
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let python = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("CoreError", python.get_type::<CoreError>())?;
    module.add("UnknownReceiverError", python.get_type::<UnknownReceiverError>())?;
    module.add_class::<core::Core>()?;
    module.add_class::<core::Receiver>()?;
    module.add_class::<event::Event>()?;
    module.add_class::<send::Sender>()?;
    module.add_class::<send::SenderStats>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<tap::Tap>()?;
    module.add_class::<units::Unit>()?;
    module.add_class::<units::UnitTracks>()?;
    module.add_class::<units::Subscription>()?;
    module.add_class::<units::Feed>()?;
    module.add_class::<viewer::Viewer>()?;
    module.add_class::<push::Push>()?;
    module.add_class::<inspect::RtpPacket>()?;
    module.add_class::<inspect::PesPacket>()?;
    module.add_function(wrap_pyfunction!(inspect::parse_rtp, module)?)?;
    module.add_class::<files::KeyFrame>()?;
    module.add_class::<files::FileFacts>()?;
    module.add_function(wrap_pyfunction!(files::file_facts, module)?)?;
    module.add_function(wrap_pyfunction!(files::init_segment, module)?)?;
    module.add_function(wrap_pyfunction!(files::segment, module)?)?;
    module.add_function(wrap_pyfunction!(inspect::demux_ps, module)?)?;
    module.add_function(wrap_pyfunction!(record::salvage, module)?)
}
