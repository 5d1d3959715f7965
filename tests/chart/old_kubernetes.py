"""Run `python -m scripts.kind` against Kubernetes before 1.21.

Such a server rejects a Service port without a protocol in a server-side apply, which Helm 4 uses. The Helm
library has an option against that, but its Python interface does not expose it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from scripts.kind import helm
from scripts.kind.__main__ import main


def apply_client_side() -> None:
    helm.library()
    config: Any = importlib.import_module("helm_python.config")
    options = config._opts

    def with_client_side(**pairs: Any) -> str | None:
        if "create_namespace" in pairs:
            pairs["server_side_apply"] = False
        found: str | None = options(**pairs)
        return found

    config._opts = with_client_side


if __name__ == "__main__":
    apply_client_side()
    sys.exit(main(sys.argv[1:]))
