use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};
use wire::rtp;

/// `media._core.RtpPacket`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct RtpPacket {
    payload_type: u8,
    marker: bool,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    payload: Py<PyBytes>,
}

/// `media._core.PesPacket`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct PesPacket {
    stream_id: u8,
    pts: Option<u64>,
    dts: Option<u64>,
    payload: Py<PyBytes>,
    whole: bool,
}

#[pyfunction]
pub fn parse_rtp(py: Python<'_>, data: &[u8]) -> PyResult<RtpPacket> {
    let packet = rtp::Packet::parse(data).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(RtpPacket {
        payload_type: packet.payload_type,
        marker: packet.marker,
        seq: packet.seq,
        timestamp: packet.timestamp,
        ssrc: packet.ssrc,
        payload: PyBytes::new(py, packet.payload).unbind(),
    })
}

#[pyfunction]
pub fn demux_ps(py: Python<'_>, data: &[u8]) -> (Vec<PesPacket>, Vec<&'static str>) {
    let (records, faults) = py.detach(|| wire::inspect::demux_ps(data));
    let packets = records.into_iter().map(|record| PesPacket {
        stream_id: record.stream_id,
        pts: record.pts,
        dts: record.dts,
        payload: PyBytes::new(py, &record.payload).unbind(),
        whole: record.whole,
    });
    (packets.collect(), faults.into_iter().map(wire::fault::Fault::name).collect())
}
