"""Collections: titled lists of repositories."""

import re
from typing import Any

from tests.hub_server.http import NAME, Answer, Request, reply, route
from tests.hub_server.store import Collection, Refusal

_SLUG = r"/api/collections/(?P<slug>[\w.-]+/[\w.-]+)"


@route("POST", r"/api/collections")
def create_collection(request: Request) -> Answer:
    asked = request.json()
    owner, title = asked.get("namespace") or request.need_user(), str(asked.get("title") or "").strip()
    request.need_write(owner)
    if not 1 <= len(title) < 60:
        raise Refusal(400, '"title" must have 1 to 59 characters')
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    slug = f"{owner}/{words}-{len(words):024x}"
    if slug in request.hub.store.collections:
        raise Refusal(409, "You already have a collection with this title", slug=slug)
    made = Collection(slug, title, owner, bool(asked.get("private")), asked.get("description") or "")
    request.hub.store.collections[slug] = made
    return reply(_describe(made))


@route("GET", r"/api/collections")
def list_collections(request: Request) -> Answer:
    owner = request.argument("owner")
    return reply(
        [_describe(c) for c in request.hub.store.collections.values() if c.owner == owner and _sees(request, c)]
    )


@route("GET", _SLUG)
def show_collection(request: Request, slug: str) -> Answer:
    return reply(_describe(_find(request, slug)))


@route("DELETE", _SLUG)
def delete_collection(request: Request, slug: str) -> Answer:
    request.need_write(_find(request, slug).owner)
    del request.hub.store.collections[slug]
    return reply({})


@route("POST", rf"{_SLUG}/items")
def add_item(request: Request, slug: str) -> Answer:
    found, asked = _find(request, slug), request.json()
    request.need_write(found.owner)
    item = asked.get("item") or {}
    if item.get("type") not in ("model", "dataset", "space") or not re.fullmatch(NAME, item.get("id", "")):
        raise Refusal(400, "an item has a type (model, dataset, space) and an id")
    request.find(f"{item['type']}s", item["id"])
    if any((row["type"], row["id"]) == (item["type"], item["id"]) for row in found.items):
        raise Refusal(409, "Item is already in this collection")
    row = {"_id": f"{len(found.items):024x}", "type": item["type"], "id": item["id"], "position": len(found.items)}
    found.items.append(row | ({"note": {"text": asked["note"], "html": ""}} if asked.get("note") else {}))
    return reply(_describe(found))


def _sees(request: Request, found: Collection) -> bool:
    return not found.private or request.may_write(found.owner)


def _find(request: Request, slug: str) -> Collection:
    found = request.hub.store.collections.get(slug)
    if found is None or not _sees(request, found):
        raise Refusal(404, "Collection not found")
    return found


def _describe(found: Collection) -> dict[str, Any]:
    owner = {"type": "user", "name": found.owner, "fullname": found.owner, "avatarUrl": "", "isPro": False}
    return {
        "slug": found.slug,
        "title": found.title,
        "owner": owner,
        "description": found.description,
        "items": found.items,
        "lastUpdated": "2026-01-01T00:00:00.000Z",
        "position": 0,
        "private": found.private,
        "theme": "blue",
        "upvotes": 0,
    }
