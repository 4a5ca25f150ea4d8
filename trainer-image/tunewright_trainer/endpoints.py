"""Where a download may connect to: nowhere in the Pod itself, and not to the metadata services of clouds. Addresses are checked where they are used.

A user's Secret may name the hub and the object store, and both may redirect. A name can also resolve to one address when it is looked at and
to another when it is used, so the rule stands in name resolution itself, while a download runs. Private networks are allowed: mirrors and
object stores are mostly services of the cluster; a NetworkPolicy is the place to say which (docs/security.md).
"""

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from tunewright_trainer.errors import RunError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ALLOWED_ENV: Final = "TUNEWRIGHT_ALLOWED_ADDRESSES"
"""Networks, with commas between, that the rule does not refuse. Only the chart's values can set it: a Secret's keys get no further than `SECRET_VARIABLES`."""

ENDPOINT_VARIABLES: Final = ("HF_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")

_REFUSED: Final = tuple(
    (ipaddress.ip_network(network), kind)
    for kind, networks in {
        "an address of the Pod itself": ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"),
        "a link-local address": ("169.254.0.0/16", "fe80::/10"),
        # AWS, Google, Alibaba, Oracle, Azure: those that are not link-local.
        "a cloud's metadata service": ("fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32"),
        "no address of a host": ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8"),
    }.items()
    for network in networks
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def refused_address(address: str, allowed: tuple[Network, ...] = ()) -> str | None:
    """Return what kind of address is refused ("a link-local address"), or None for one that may be connected to."""
    parsed = ipaddress.ip_address(address.split("%", 1)[0])
    for each in (parsed, *_embedded(parsed)):
        if any(each in network for network in allowed):
            return None
        for network, kind in _REFUSED:
            if each in network:
                return kind
    return None


def endpoint_problem(url: str, addresses: tuple[str, ...], allowed: tuple[Network, ...] = ()) -> str | None:
    """Return what is wrong with an endpoint whose host has these addresses, or None."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "it is not `http://host` or `https://host`"
    kinds = (refused_address(address, allowed) for address in addresses)
    return next((f"{parts.hostname} is {kind}" for kind in kinds if kind is not None), None)


def allowed_networks(environ: Mapping[str, str]) -> tuple[Network, ...]:
    """Return the networks of ALLOWED_ENV."""
    return tuple(ipaddress.ip_network(text.strip()) for text in environ.get(ALLOWED_ENV, "").split(",") if text.strip())


@contextmanager
def guarded_connections(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Refuse connections to such addresses by whatever runs inside; raises RunError BadConfiguration, also where a client wraps it in its own error."""
    allowed = allowed_networks(environ)
    resolve = socket.getaddrinfo
    refused: list[RunError] = []

    def guarded(host: Any, *arguments: Any, **more: Any) -> Any:
        found = resolve(host, *arguments, **more)
        for *_, address in found:
            kind = refused_address(str(address[0]), allowed)
            if kind is not None:
                name = host.decode(errors="replace") if isinstance(host, bytes) else host
                refused.append(RunError("BadConfiguration", f"`{name}` is {kind} ({address[0]}), which downloads never connect to; give another endpoint"))
                raise refused[0]
        return found

    _check_endpoints(environ, allowed)
    socket.getaddrinfo = guarded
    try:
        yield
    except Exception as error:
        if refused and error is not refused[0]:
            raise refused[0] from error
        raise
    finally:
        socket.getaddrinfo = resolve


def _check_endpoints(environ: Mapping[str, str], allowed: tuple[Network, ...]) -> None:
    """Say which variable is wrong, before a client says that it cannot connect."""
    for variable in ENDPOINT_VARIABLES:
        url = environ.get(variable)
        if not url:
            continue
        problem = endpoint_problem(url, _addresses(url), allowed)
        if problem is not None:
            raise RunError("BadConfiguration", f"{variable} cannot be used: {problem}; give the URL of a hub or an object store")


def _addresses(url: str) -> tuple[str, ...]:
    """Return the addresses of a URL's host; none where it does not resolve, which may pass by itself."""
    try:
        host = urlsplit(url).hostname
        return tuple(str(address[0]) for *_, address in socket.getaddrinfo(host, None)) if host else ()
    except (OSError, UnicodeError, ValueError):
        return ()


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
        if address.sixtofour is not None:
            yield address.sixtofour
        if address in _NAT64:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
