"""E-mail addresses: one spelling each, and nothing in them that a mail header could trip over."""

import re

MAX_CHARS = 254
"""RFC 5321: the longest address that fits a forward path."""

_ADDRESS = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_LOCAL_PART_MAX_CHARS = 64


def normal_email(text: str) -> str:
    """The address in lower case without surrounding blanks. Raises ValueError when it is none.

    Quoted local parts and addresses beyond ASCII are refused: providers do not deliver them reliably, and
    look-alike letters would let one person pass for another in a list of orders.
    """
    address = text.strip().lower()
    if len(address) > MAX_CHARS or not _ADDRESS.fullmatch(address):
        raise ValueError("Give an e-mail address.")
    if len(address.partition("@")[0]) > _LOCAL_PART_MAX_CHARS:
        raise ValueError("Give an e-mail address.")
    return address
