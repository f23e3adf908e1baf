"""Which socket addresses stay on this machine."""

import ipaddress
from typing import Any


def is_loopback(address: Any) -> bool:
    """Tell whether a socket address stays on this machine: a Unix path, ``localhost`` or a loopback IP."""
    if not isinstance(address, tuple):
        return True
    host = address[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
