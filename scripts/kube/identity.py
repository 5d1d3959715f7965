"""The endpoint's certificate, its token, and the kubeconfig with both.

Certificate and token are made at the first start and kept, so that a client's kubeconfig stays valid over
restarts. kubectl sends tokens over TLS only, hence a certificate even on loopback.
"""

from __future__ import annotations

import base64
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.kube.objects import NODE

ADDRESS = "127.0.0.1"


def server_context(state: Path) -> ssl.SSLContext:
    """Return the server's side of TLS, with the certificate from the state folder, made there if missing."""
    certificate, key = state / "tls.crt", state / "tls.key"
    if not certificate.exists():
        _make_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def token(state: Path) -> str:
    """Return the state folder's bearer token, made at the first call."""
    file = state / "token"
    if not file.exists():
        _write_private(file, secrets.token_urlsafe(32).encode())
    return file.read_text()


def write_kubeconfig(state: Path, port: int) -> Path:
    """Write `kubeconfig` into the state folder; return its path."""
    authority = base64.b64encode((state / "tls.crt").read_bytes()).decode()
    cluster = {"server": f"https://{ADDRESS}:{port}", "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NODE,
        "clusters": [{"name": NODE, "cluster": cluster}],
        "users": [{"name": NODE, "user": {"token": token(state)}}],
        "contexts": [{"name": NODE, "context": {"cluster": NODE, "user": NODE, "namespace": "default"}}],
    }
    file = state / "kubeconfig"
    _write_private(file, yaml.safe_dump(config, sort_keys=False).encode())
    return file


def _write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read (0600), in one step."""
    draft = file.with_name(f".{file.name}")
    draft.unlink(missing_ok=True)
    draft.touch(0o600, exist_ok=False)
    draft.write_bytes(content)
    draft.replace(file)


def _make_certificate(certificate_file: Path, key_file: Path) -> None:
    """Make a certificate for loopback that clients trust by itself: it signs no other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)])
    start = datetime.now(UTC) - timedelta(minutes=5)  # clocks differ, also between a host and its VM
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ip_address(ADDRESS))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write_private(key_file, key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    _write_private(certificate_file, certificate.public_bytes(pem))
