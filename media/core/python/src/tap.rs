use pyo3::{prelude::*, types::PyBytes};

/// `media._core.Tap`.
#[pyclass(frozen, module = "media._core")]
pub struct Tap(pub relay::Tap);

#[pymethods]
impl Tap {
    #[pyo3(signature = (limit = 256))]
    fn read<'py>(&self, py: Python<'py>, limit: usize) -> Vec<(u64, &'static str, Bound<'py, PyBytes>)> {
        let packets = py.detach(|| self.0.read(limit));
        let via = |tcp| if tcp { "tcp" } else { "udp" };
        packets
            .into_iter()
            .map(|packet| (packet.at_us, via(packet.tcp), PyBytes::new(py, &packet.data)))
            .collect()
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    fn close(&self) {
        self.0.close();
    }
}
