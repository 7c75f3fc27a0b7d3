use std::collections::BTreeMap;

use pyo3::prelude::*;

/// `media._core.Event`.
#[pyclass(frozen, module = "media._core")]
pub struct Event(pub relay::Event);

#[pymethods]
impl Event {
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
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
    fn at_ms(&self) -> u64 {
        self.0.at_ms
    }

    #[getter]
    fn detail(&self) -> BTreeMap<&'static str, &str> {
        self.0.detail.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn __repr__(&self) -> String {
        let relay::Event { kind, receiver, app, name, .. } = &self.0;
        let mut detail = self.detail();
        for secret in ["token", "response"] {
            detail.entry(secret).and_modify(|value| *value = "…"); // it would end up in logs
        }
        format!("<Event {} receiver={receiver} {app}/{name} {detail:?}>", kind.name())
    }
}
