"""The stack's own secrets, created once and kept in a file that only its owner can read."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.local.settings import write_private


@dataclass(frozen=True)
class Passwords:
    """Every secret of one stack."""

    admin: str  # Airflow's user ``admin``
    redis: str
    fernet: str  # encrypts the connections and variables in Airflow's database
    jwt: str  # signs Airflow's tokens; PyJWT wants 64 bytes for HS512
    session: str  # signs the UI's sessions

    def hide(self, text: str) -> str:
        """Return the text with every secret replaced by ``***``."""
        for secret in asdict(self).values():
            text = text.replace(secret, "***")
        return text


def passwords(state: Path) -> Passwords:
    """Return the secrets of the stack in a state folder; create them if there are none yet."""
    path = state / "passwords.json"
    if not path.exists():
        created = Passwords(
            admin=secrets.token_urlsafe(12),
            redis=secrets.token_urlsafe(24),
            fernet=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            jwt=secrets.token_urlsafe(64),
            session=secrets.token_urlsafe(32),
        )
        write_private(path, json.dumps(asdict(created), indent=2) + "\n")
    return Passwords(**json.loads(path.read_text()))
