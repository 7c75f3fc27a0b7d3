use pyo3::prelude::*;
use relay::push::PushStats;

/// `media._core.Push`.
#[pyclass(frozen, module = "media._core")]
pub struct Push(pub PushStats);

#[pymethods]
impl Push {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    #[getter]
    fn receiver(&self) -> u64 {
        self.0.receiver
    }

    #[getter]
    fn app(&self) -> &str {
        &self.0.app
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn url(&self) -> &str {
        &self.0.url
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.0.state.name()
    }

    #[getter]
    fn since_ms(&self) -> u64 {
        self.0.since_ms
    }

    #[getter]
    fn bytes_out(&self) -> u64 {
        self.0.bytes_out
    }

    #[getter]
    fn failures(&self) -> u64 {
        self.0.failures
    }
}
