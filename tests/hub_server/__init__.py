"""A small, strict server that speaks the Hub's protocol on the loopback interface, for tests and for ``make hub-demo``.

``socket -> faults -> routes -> store``. It knows repositories, commits with a check of the parent, large files over LFS
(whole or in parts) and over Xet, branches, tags, proposals, gates, collections and Spaces; it refuses what the Hub
refuses, checks the digest of everything that arrives, and sends large files from another origin. ``python -m
tests.hub_server`` starts it by itself.
"""

from tests.hub_server.server import HubServer
from tests.hub_server.store import LFS_LIMIT, ORGANISATION, OWNER, READER, READER_TOKEN, TOKEN, Blob

__all__ = ["LFS_LIMIT", "ORGANISATION", "OWNER", "READER", "READER_TOKEN", "TOKEN", "Blob", "HubServer"]
