"""Run uv with the package index that pip is configured for: ``.venv/uv/bin/python scripts/uv.py ARGUMENTS``.

uv reads neither pip's configuration files nor its environment variables. This program reads the settings of
the pip in the same environment, from all its sources, and sets uv's own variables to them: index, extra
indexes, find-links, no-index, certificates, proxy, trusted hosts and timeout. A uv variable that
is set already stays as it is. uv reads .netrc by itself.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30.0
"""uv's default timeout, which pip's may only raise."""


def main(arguments: Sequence[str]) -> None:
    """Replace this process by uv. Exits with a message if pip's settings can't be read."""
    try:
        options = pip_options()
    except (ImportError, AttributeError) as error:
        sys.exit(
            f"cannot read the settings of pip ({error}): set UV_DEFAULT_INDEX, SSL_CERT_FILE and "
            f"HTTPS_PROXY, and run .venv/uv/bin/uv {' '.join(arguments)}"
        )
    more = ["--no-index"] if options.no_index and arguments[:1] == ["pip"] else []
    uv = str(Path(sys.prefix) / "bin" / "uv")
    os.execve(uv, [uv, *arguments, *more], {**os.environ, **variables(options, os.environ)})  # noqa: S606


def pip_options() -> Any:
    """Return the options that ``pip install`` would use here, from all its files and variables."""
    # pip has no public API for it: `pip config list` does not show which of two files wins.
    commands: Any = import_module("pip._internal.commands")
    options, _ = commands.create_command("install").parser.parse_args([])
    if options.index_url == import_module("pip._internal.models.index").PyPI.simple_url:
        options.index_url = ""  # pip's own default, which is uv's too
    return options


def variables(options: Any, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the uv variables that correspond to pip's options, except those that are set already."""
    found = {
        "UV_DEFAULT_INDEX": options.index_url,
        "UV_INDEX": " ".join(options.extra_index_urls),
        # pip takes the best version of all indexes. That is safe here, because the hashes are locked.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": ",".join(options.find_links),
        "UV_INSECURE_HOST": " ".join(options.trusted_hosts),
        "UV_HTTP_TIMEOUT": str(int(max(TIMEOUT_SECONDS, options.timeout))),
        **certificates(options.cert, environment),
    }
    missing = {name: value for name, value in found.items() if value and name not in environment}
    # These variables are not uv's own, and pip's options override them.
    if options.cert:
        missing["SSL_CERT_FILE"] = options.cert
    if options.client_cert:
        missing["SSL_CLIENT_CERT"] = options.client_cert
    if options.proxy:
        proxy = options.proxy if "://" in options.proxy else f"http://{options.proxy}"
        missing |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
    return missing


def certificates(cert: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which uv trusts pip's authorities if pip's option ``cert`` is not set."""
    named = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    if cert or "SSL_CERT_FILE" in environment or "SSL_CERT_DIR" in environment:
        return {}
    if named:
        return {"SSL_CERT_DIR" if Path(named).is_dir() else "SSL_CERT_FILE": named}
    # A company's own authority is often in the system's store only, which pip uses since version 24.2.
    known = ssl.get_default_verify_paths()
    has_system_store = known.cafile or (known.capath and any(Path(known.capath).iterdir()))
    return {"UV_SYSTEM_CERTS": "true"} if has_system_store else {}


if __name__ == "__main__":
    main(sys.argv[1:])
