"""TLS in front of a Redis server, with a self-signed certificate."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@asynccontextmanager
async def relay(address: str, port: int, folder: Path) -> AsyncIterator[tuple[int, str]]:
    """Listen with TLS at the address, and relay to a Redis port there.

    Yields the port that it listens on, and the certificate to trust, as PEM text.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis = await asyncio.open_connection(address, port)
        await asyncio.gather(_copy(reader, redis[1]), _copy(redis[0], writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = _certificate_for(address, folder)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, address, 0, ssl=context)
    async with server:
        pem = certificate.read_text().partition("-----BEGIN PRIVATE KEY")[0]
        yield server.sockets[0].getsockname()[1], pem


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy data from one to the other until there is no more."""
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()
    await writer.wait_closed()


def _certificate_for(address: str, folder: Path) -> Path:
    """Return a file with a new certificate for the address, and its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(certificate.public_bytes(pem) + private)
    return file
