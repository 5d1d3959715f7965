"""uv uses the package index that pip is configured for, with all of pip's settings."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.local.settings import REPOSITORY
from scripts.uv import variables

UV = [str(Path(sys.prefix) / "uv" / "bin" / "python"), "scripts/uv.py"]
LOGIN = ("ci", "s3cret")
DEFAULTS: dict[str, object] = {
    "index_url": "",
    "extra_index_urls": [],
    "find_links": [],
    "trusted_hosts": [],
    "cert": None,
    "client_cert": None,
    "proxy": "",
    "timeout": 15.0,
}


class Handler(SimpleHTTPRequestHandler):
    """Serves files to clients that give the password."""

    def do_GET(self) -> None:
        expected = base64.b64encode(":".join(LOGIN).encode()).decode()
        if self.headers["Authorization"] == f"Basic {expected}":
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def https(folder: Path, certificate: Path) -> Iterator[str]:
    """Serve the folder with TLS on loopback; yield the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def certificates(folder: Path) -> tuple[Path, Path]:
    """Create a certificate authority, and its certificate and key for 127.0.0.1; return their files."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("authority", "127.0.0.1")
    )
    now = datetime.now(UTC)

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, is_authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority, server = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(signed(authority_name, authority_key.public_key(), True))
    server.write_bytes(signed(name, key.public_key(), False) + private)
    return authority, server


def wheel(folder: Path, name: str) -> str:
    """Put a wheel with an empty module into the folder; return its line for a requirements file."""
    folder.mkdir(parents=True)
    file = folder / f"{name}-1-py3-none-any.whl"
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<a href="{file.name}#sha256={digest}">{file.name}</a>')
    return f"{name}==1 --hash=sha256:{digest}\n"


def install(home: Path, requirements: str, pip: str) -> set[str]:
    """Install requirements with no settings but those of a pip.conf; return the installed modules."""
    for name, text in {"requirements.txt": requirements, "pip.conf": f"[global]\n{pip}"}.items():
        (home / name).write_text(text)
    environment = {"HOME": str(home), "PIP_CONFIG_FILE": str(home / "pip.conf")}
    command = [
        "pip",
        "install",
        "--no-cache",
        "--python",
        sys.executable,
        "--target",
        str(home / "installed"),
    ]
    done = subprocess.run(
        [*UV, *command, "--require-hashes", "--requirement", str(home / "requirements.txt")],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.stem for path in (home / "installed").glob("*.py")}


def test_indexes_with_pips_certificate_authority_and_password_are_used(tmp_path: Path) -> None:
    lines = wheel(tmp_path / "indexes/first/alpha", "alpha") + wheel(tmp_path / "indexes/more/beta", "beta")
    authority, certificate = certificates(tmp_path)
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login {LOGIN[0]} password {LOGIN[1]}\n")
    netrc.chmod(0o600)
    with https(tmp_path / "indexes", certificate) as url:
        settings = f"index-url = {url}/first\nextra-index-url = {url}/more\ncert = {authority}\n"
        assert install(tmp_path, lines, settings) == {"alpha", "beta"}


def test_a_folder_of_wheels_without_an_index_is_used(tmp_path: Path) -> None:
    line = wheel(tmp_path / "wheels", "alpha")
    assert install(tmp_path, line, f"no-index = true\nfind-links = {tmp_path / 'wheels'}\n") == {"alpha"}


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ({"index_url": "https://a/simple"}, {}, {"UV_DEFAULT_INDEX": "https://a/simple"}),
        ({"index_url": "https://a/simple"}, {"UV_DEFAULT_INDEX": "https://b"}, {}),
        ({"trusted_hosts": ["a", "b:8"]}, {}, {"UV_INSECURE_HOST": "a b:8"}),
        ({"find_links": ["/a", "https://b"]}, {}, {"UV_FIND_LINKS": "/a,https://b"}),
        ({"cert": "/a.pem"}, {"SSL_CERT_FILE": "/b.pem"}, {"SSL_CERT_FILE": "/a.pem"}),
        ({"client_cert": "/a.pem"}, {}, {"SSL_CLIENT_CERT": "/a.pem"}),
        ({}, {"REQUESTS_CA_BUNDLE": "/a.pem"}, {"SSL_CERT_FILE": "/a.pem"}),
        ({}, {"CURL_CA_BUNDLE": "/"}, {"SSL_CERT_DIR": "/"}),
        ({}, {"SSL_CERT_FILE": "/a.pem", "CURL_CA_BUNDLE": "/b.pem"}, {}),
        ({"timeout": 180.0}, {}, {"UV_HTTP_TIMEOUT": "180"}),
        (
            {"proxy": "me:pw@proxy:8080"},
            {},
            {
                "HTTP_PROXY": "http://me:pw@proxy:8080",
                "HTTPS_PROXY": "http://me:pw@proxy:8080",
                "http_proxy": "http://me:pw@proxy:8080",
                "https_proxy": "http://me:pw@proxy:8080",
            },
        ),
    ],
)
def test_pips_settings_become_uvs_variables(
    options: dict[str, object], environment: dict[str, str], expected: dict[str, str]
) -> None:
    found = variables(SimpleNamespace(**{**DEFAULTS, **options}), environment)
    always = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_HTTP_TIMEOUT": "30"}
    found.pop("UV_SYSTEM_CERTS", None)  # depends on the machine
    assert found == {**always, **expected}


def test_the_makefile_runs_uv_only_by_this_script() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "UV := .venv/uv/bin/python scripts/uv.py\n" in makefile
    assert "bin/uv " not in makefile
