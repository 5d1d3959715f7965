"""Lists: the present, or what there was at an older version, whole or in pages.

All pages of a list show the version of its first page, so that a watch from that version misses nothing and
repeats nothing.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

from aiohttp import web

from scripts.kube.objects import Json, Key, Kind, encode, key_of
from scripts.kube.requests import ApiError, Predicate, Target, bad_request, forbidden_field, number
from scripts.kube.store import Store
from scripts.kube.tables import table, wants_table

_FIRST: Key = ("", "")
"""The place before every object."""


def serve_list(request: web.Request, store: Store, target: Target, selects: Predicate) -> web.Response:
    """Return the selected objects as a list or a table; raise ApiError (400, 410, 422, 504)."""
    page, metadata = find_page(request, store, target, selects)
    kind = target.kind
    if wants_table(request):
        body = encode({**table(kind, page), "metadata": metadata})
    else:
        body = encode_list(kind, metadata, [store.encoded(kind, thing) for thing in page])
    return web.Response(body=body, content_type="application/json")


def find_page(
    request: web.Request, store: Store, target: Target, selects: Predicate
) -> tuple[Sequence[Json], Json]:
    """Return the page that a request names, and the list's metadata; raise ApiError (400, 410, 422, 504)."""
    limit, token = number(request, "limit") or 0, request.query.get("continue", "")
    asked = _asked_version(request, store)
    if token and asked:
        raise bad_request("specifying resource version is not allowed when using continue")
    is_exact = request.query.get("resourceVersionMatch", "Exact" if limit > 0 else "") == "Exact"
    version, after = _place(token) if token else ((is_exact and asked) or store.version, _FIRST)
    things = _things_at(store, target, version, is_continued=bool(token))
    rest = things[bisect_right(things, after, key=key_of) :]
    found = list(islice(filter(selects, rest), limit + 1 if limit > 0 else None))
    page = found[:limit] if limit > 0 else found
    metadata: Json = {"resourceVersion": str(version)}
    if len(found) > len(page):
        metadata["continue"] = _token(version, key_of(page[-1]))
        if not request.query.get("labelSelector") and not request.query.get("fieldSelector"):
            metadata["remainingItemCount"] = len(rest) - len(page)
    return page, metadata


def encode_list(kind: Kind, metadata: Json, items: Sequence[bytes]) -> bytes:
    """Return a list of encoded objects as JSON."""
    head = encode({"kind": f"{kind.name}List", "apiVersion": "v1", "metadata": metadata})
    return head[:-1] + b',"items":[' + b",".join(items) + b"]}"


def _things_at(store: Store, target: Target, version: int, *, is_continued: bool) -> Sequence[Json]:
    if version == store.version:
        return store.list(target.kind, target.namespace)
    things = store.list_at(target.kind, target.namespace, version)
    if things is None:
        oldest = store.oldest(target.kind)
        why = "start a new list without continue" if is_continued else f"the oldest is {oldest}"
        raise ApiError(410, "Expired", f"too old resource version: {version}: {why}")
    return things


def _asked_version(request: web.Request, store: Store) -> int:
    """Return the version that the request names, 0 if any will do; raise ApiError (400, 422, 504)."""
    version, match = number(request, "resourceVersion") or 0, request.query.get("resourceVersionMatch")
    if match is not None and (match not in ("Exact", "NotOlderThan") or not version):
        why = "it must be Exact or NotOlderThan, and is allowed only beside a resourceVersion"
        raise forbidden_field("ListOptions", "", "resourceVersionMatch", why)
    if version > store.version:
        message = f"Too large resource version: {version}, current: {store.version}"
        raise ApiError(504, "Timeout", message, {"retryAfterSeconds": 1})
    return version


def _token(version: int, after: Key) -> str:
    return base64.urlsafe_b64encode(encode([version, *after])).decode()


def _place(token: str) -> tuple[int, Key]:
    """Return the version and the last object of the page before; raise ApiError (400)."""
    try:
        read = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, RecursionError):
        read = None
    match read:
        case [int(version), str(namespace), str(name)] if not isinstance(version, bool):
            return version, (namespace, name)
    raise bad_request("continue key is not valid: take it from the page before")
