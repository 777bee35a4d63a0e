"""Signatures of callbacks: a MAC over time stamp and raw body, so that neither can be changed or kept for later."""

import re

from backend.core.signing import mac, same

SIGNATURE_HEADER = "Stampede-Signature"
TOLERANCE_S = 300
"""How far a callback's time stamp may be from our clock, in either direction."""

_HEADER = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})", re.ASCII)


def sign(key: bytes, body: bytes, now_s: int) -> str:
    """``t=<unix s>,v1=<hex HMAC-SHA-256 over "<t>.<body>">``."""
    return f"t={now_s},v1={mac(key, b'%d.' % now_s + body).hex()}"


def is_signed(key: bytes, header: str, body: bytes, now_s: int) -> bool:
    """Whether ``header`` is a fresh signature of exactly these bytes.

    The stamp is signed as it was spelled (``01`` and ``1`` are two texts), and the comparison takes the
    same time wherever two signatures differ.
    """
    match = _HEADER.fullmatch(header)
    if match is None:
        return False
    stamp, claimed = match[1], bytes.fromhex(match[2])
    genuine = same(mac(key, stamp.encode() + b"." + body), claimed)
    return genuine and abs(now_s - int(stamp)) <= TOLERANCE_S
