"""Certificates for trials of TLS, made on the spot: this machine, signed by itself."""

from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.clock import utc_now


def write_pair(folder: Path, *, ends: datetime | None = None) -> tuple[Path, Path]:
    """Writes `cert.pem` and `key.pem`, each at once as renewals do; their paths. Good for 90 days unless told."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    ends = ends or utc_now() + timedelta(days=90)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _replace(folder / "cert.pem", certificate.public_bytes(serialization.Encoding.PEM)), _replace(
        folder / "key.pem", secret
    )


def _replace(path: Path, data: bytes) -> Path:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    return new.replace(path)
