use std::path::PathBuf;

use pyo3::prelude::*;

use crate::error;

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments from Python are values")]
pub fn salvage(py: Python<'_>, path: PathBuf) -> PyResult<Option<(u64, u64, u64)>> {
    let salvaged = py.detach(|| relay::salvage(&path)).map_err(error)?;
    Ok(salvaged.map(|salvaged| (salvaged.start_ms, salvaged.end_ms, salvaged.frames)))
}
