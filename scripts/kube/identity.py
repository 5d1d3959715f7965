"""Who the endpoint is and who may speak to it: a certificate, a token, and the kubeconfig with both.

The certificate and the token are made at the first start and kept, so that a client's kubeconfig stays
good over restarts. kubectl sends tokens over TLS only, hence a certificate even on loopback.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scripts.kube.discovery import NODE

_LIFETIME = timedelta(days=3650)
_RENEWAL = timedelta(days=30)


def server_context(state: Path) -> ssl.SSLContext:
    """The TLS side of the server, with a certificate from `state`, made there if need be."""
    certificate, key = _certificate_file(state), state / "tls.key"
    if not _still_good(certificate):
        _make_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def token(state: Path) -> str:
    """The bearer token of this state folder, made at the first call."""
    file = state / "token"
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32).encode())
    return file.read_text()


def write_kubeconfig(state: Path, port: int) -> Path:
    """Leaves `kubeconfig` in `state`, whole or not at all; returns its path."""
    authority = base64.b64encode(_certificate_file(state).read_bytes()).decode()
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NODE,
        "clusters": [{"name": NODE, "cluster": cluster}],
        "users": [{"name": NODE, "user": {"token": token(state)}}],
        "contexts": [{"name": NODE, "context": {"cluster": NODE, "user": NODE, "namespace": "default"}}],
    }
    file = state / "kubeconfig"
    write_private(file, yaml.safe_dump(config, sort_keys=False).encode())
    return file


def write_private(file: Path, content: bytes) -> None:
    """Writes a file that only its owner reads (0600), whole or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    draft.replace(file)


def _certificate_file(state: Path) -> Path:
    return state / "tls.crt"


def _still_good(file: Path) -> bool:
    if not file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return certificate.not_valid_after_utc > datetime.now(UTC) + _RENEWAL


def _make_certificate(certificate_file: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)])
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    start = datetime.now(UTC) - timedelta(minutes=5)  # clocks differ, also between a host and its VM
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write_private(key_file, key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    write_private(certificate_file, certificate.public_bytes(pem))
