"""``python -m scripts.kind`` for a Kubernetes before 1.21.

Such a server can't take a Service's port without a protocol when it is applied server-side, as Helm 4
does. Helm's library can be told not to; its Python part has no name for the option.
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
