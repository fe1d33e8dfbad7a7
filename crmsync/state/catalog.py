"""What was learned about a source's objects, kept between runs to save requests. A cache: unreadable is empty."""

from __future__ import annotations

from typing import Any

import orjson

from crmsync.state.store import Store


def load(store: Store, sync: str) -> dict[str, Any]:
    document = store.read(f"{sync}/catalog.json")
    try:
        kept = orjson.loads(document.data) if document else {}
    except orjson.JSONDecodeError:
        return {}
    return kept if isinstance(kept, dict) else {}


def keep(store: Store, sync: str, catalog: dict[str, Any]) -> None:
    """Store the catalog where it differs from what is there."""
    name = f"{sync}/catalog.json"
    data = orjson.dumps(catalog)
    present = store.read(name)
    if present is None or present.data != data:
        store.write(name, data, present.version if present else None)
