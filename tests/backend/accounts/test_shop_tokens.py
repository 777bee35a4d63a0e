"""A shop's own tokens: taken once each when they are genuine, and refused in one way for every other reason."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import jwt
import orjson
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError

from backend.accounts import ShopTokens, shop_tokens
from backend.core.errors import Code, Refused
from backend.core.strict_json import MAX_BODY_BYTES
from backend.settings import Settings
from tests.backend.server import as_shopper, free_origin, serving
from tests.backend.shop import Shop, shop

__all__ = ["shop"]

ISSUER, AUDIENCE, SECRET = "https://acme.example", "stampede", "a shared secret of more than 32 bytes"
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
PATH = "/api/v1/shoppers/sessions"


def pem(key: Any) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return str(public.decode())


def claims(**other: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "customer-7", "exp": now + 300, "jti": uuid4().hex, **other}
    return {name: value for name, value in found.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", *, headers: Any = None, **other: Any) -> str:
    return jwt.encode(claims(**other), key, algorithm=algorithm, headers=headers)


def raw(header: Any, payload: Any, signature: bytes = b"") -> str:
    parts = [orjson.dumps(header), payload if isinstance(payload, bytes) else orjson.dumps(payload), signature]
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)


def by_hand(payload: bytes) -> str:
    """Signed, whatever the payload is."""
    return jwt.api_jws.encode(payload, SECRET, algorithm="HS256")


def trusting(settings: Settings, algorithm: str = "HS256", key: str | None = SECRET, **other: Any) -> Settings:
    return Settings(
        **settings.model_dump(exclude_unset=True)
        | {"shop_token_issuer": ISSUER, "shop_token_audience": AUDIENCE, "shop_token_algorithm": algorithm,
           "shop_token_key": key, **other},
        _env_file=None,
    )  # fmt: skip


@pytest.mark.parametrize(("algorithm", "key"), [("HS256", SECRET), ("RS256", RSA), ("EdDSA", ED)])
async def test_a_token_is_exchanged_once_and_names_the_same_shopper_again(shop: Shop, algorithm: str, key: Any) -> None:
    known = key if isinstance(key, str) else pem(key).strip().replace("\n", "\\n")
    settings = trusting(shop.settings, algorithm, known, public_url=free_origin())
    async with serving(settings) as http:
        token = signed(key, algorithm)
        first = await http.post(PATH, json={"token": token})
        assert first.status_code == 201, first.text
        assert first.headers["cache-control"] == "no-store"
        bearer = {"Authorization": f"Bearer {first.json()['access_token']}"}
        assert (await http.get("/api/v1/orders", headers=bearer)).status_code == 200
        again = await http.post(PATH, json={"token": token})
        assert (again.status_code, again.json()["code"]) == (401, "UNAUTHENTICATED")
        # The same jti in another token, and many at once with one jti: each jti is good for one.
        jti = uuid4().hex
        answers = await asyncio.gather(
            *(http.post(PATH, json={"token": signed(key, algorithm, jti=jti, sub=f"c-{n}")}) for n in range(6))
        )
        assert sorted(one.status_code for one in answers) == [201, *[401] * 5]
        second = await http.post(PATH, json={"token": signed(key, algorithm)})
        assert second.json()["shopper_id"] == first.json()["shopper_id"]
        other = await http.post(PATH, json={"token": signed(key, algorithm, sub="customer-8")})
        assert other.json()["shopper_id"] != first.json()["shopper_id"]
    rows = await shop.sql("SELECT contact FROM shoppers")
    assert [row.contact for row in rows] == [None] * len(rows)


def deep() -> bytes:
    return b'{"iss":' + b"[" * 1_400 + b"]" * 1_400 + b"}"


REFUSED: dict[str, Any] = {
    "not a token": lambda: "nonsense",
    "no signature": lambda: signed().rpartition(".")[0] + ".",
    "another secret": lambda: signed("another secret of more than 32 bytes!"),
    "alg none": lambda: raw({"alg": "none", "typ": "JWT"}, claims()),
    "alg None, spelled otherwise": lambda: raw({"alg": "nOnE"}, claims()),
    "another hash": lambda: signed(SECRET * 2, "HS512"),
    "an RSA token": lambda: signed(RSA, "RS256"),
    "a changed payload": lambda: ".".join(
        [signed().split(".")[0], raw({}, claims(sub="somebody else")).split(".")[1], signed().split(".")[2]]
    ),
    "another issuer": lambda: signed(iss="https://evil.example"),
    "no issuer": lambda: signed(iss=None),
    "another audience": lambda: signed(aud="another"),
    "no audience": lambda: signed(aud=None),
    "expired": lambda: signed(exp=int(time.time()) - 31),
    "no expiry": lambda: signed(exp=None),
    "lasts too long": lambda: signed(exp=int(time.time()) + 3_700),
    "expiry beyond the calendar": lambda: by_hand(
        orjson.dumps(claims()).replace(str(int(time.time()) + 300).encode(), b"1" * 300)
    ),
    "expiry that is none": lambda: by_hand(json.dumps(claims(exp=float("inf"))).encode()),
    "not yet valid": lambda: signed(nbf=int(time.time()) + 60),
    "issued in the future": lambda: signed(iat=int(time.time()) + 60),
    "no jti": lambda: signed(jti=None),
    "empty jti": lambda: signed(jti=""),
    "no subject": lambda: signed(sub=None),
    "a subject of a number": lambda: by_hand(orjson.dumps(claims(sub=7))),
    "a subject with NUL": lambda: signed(sub="a\x00b"),
    "a subject with half a surrogate": lambda: by_hand(orjson.dumps(claims(sub="X")).replace(b'"X"', b'"\\ud800"')),
    "a long subject": lambda: signed(sub="x" * 256),
    "a list": lambda: by_hand(b"[1]"),
    "nested without end": lambda: by_hand(deep()),
    "a critical extension": lambda: signed(headers={"crit": ["made-up"], "made-up": 1}),
}  # fmt: skip


async def test_every_other_token_is_refused_in_one_way(shop: Shop) -> None:
    async with serving(trusting(shop.settings, public_url=free_origin())) as http:
        bodies = set()
        for name, make in REFUSED.items():
            token = make()
            assert len(token) <= shop_tokens.TOKEN_MAX_CHARS, name
            answer = await http.post(PATH, json={"token": token})
            assert answer.status_code == 401, (name, answer.text)
            bodies.add(answer.text)
        assert len(bodies) == 1
        for body in ({"token": "x" * 4_097}, {"token": ""}, {"token": 1}, {"token": None}, {},
                     {"token": signed(), "contact": "ada@mail.example"}, {"contact": "ada@mail.example"},
                     {"token": signed(), "code": "123456"}):  # fmt: skip
            answer = await http.post(PATH, json=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_FIELD"), body
        assert (await http.post(PATH, json={"token": "x" * MAX_BODY_BYTES})).status_code == 413
    assert await shop.sql("SELECT 1 FROM shoppers") == []
    assert await shop.sql("SELECT 1 FROM spent_tokens") == []


@pytest.mark.parametrize("key", [RSA, ED])
async def test_a_public_key_is_no_shared_secret(shop: Shop, key: Any) -> None:
    """The classic: an HMAC under the public key's text, which everybody has."""
    algorithm = "RS256" if key is RSA else "EdDSA"
    tokens = ShopTokens(trusting(shop.settings, algorithm, pem(key)))
    header, payload = {"alg": "HS256", "typ": "JWT"}, claims()
    unsigned = raw(header, payload).rpartition(".")[0]
    hmac = jwt.get_algorithm_by_name("HS256")
    for known in (pem(key), pem(key).strip()):
        forged = (
            f"{unsigned}.{base64.urlsafe_b64encode(hmac.sign(unsigned.encode(), known.encode())).rstrip(b'=').decode()}"
        )
        with pytest.raises(Refused) as refused:
            await tokens.claims(forged)
        assert refused.value.code is Code.UNAUTHENTICATED
    assert (await tokens.claims(signed(key, algorithm))).subject == "customer-7"


async def test_without_a_configured_issuer_there_is_no_such_field(shop: Shop) -> None:
    async with serving(shop.settings.model_copy(update={"public_url": free_origin()})) as http:
        answer = await http.post(PATH, json={"token": signed()})
        assert (answer.status_code, answer.json()["errors"]) == (
            422, [{"field": "token", "message": "There is no such field."}],
        )  # fmt: skip


async def test_a_verified_address_is_one_person_with_one_limit(shop: Shop) -> None:
    known = await shop.shopper("ada@mail.example")
    async with serving(trusting(shop.settings, public_url=free_origin())) as http:

        async def who(**other: Any) -> str:
            answer = await http.post(PATH, json={"token": signed(**other)})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["shopper_id"])

        assert await who(sub="1", email="ADA@mail.example", email_verified=True) == str(known)
        assert await who(sub="1") == str(known), "the name stays theirs without the address"
        # What the issuer has not verified, or says in another type, is nobody's address.
        for claim in (False, "true", 1, None):
            assert await who(sub="2", email="ada@mail.example", email_verified=claim) != str(known)
        stranger = await who(sub="2", email="bob@mail.example", email_verified=True)
        rows = await shop.sql("SELECT contact FROM shoppers WHERE CAST(id AS text) = :id", id=stranger)
        assert [row.contact for row in rows] == ["bob@mail.example"]
        # Somebody else's address does not move to them.
        assert await who(sub="2", email="ada@mail.example", email_verified=True) == stranger
    assert as_shopper(shop, known)


class KeysServer:
    """An issuer's JWKS address on a real socket."""

    def __init__(self) -> None:
        self.document: bytes = b""
        self.asked = 0
        self.status = "200 OK"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.document)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + self.document)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest_asyncio.fixture(loop_scope="session")
async def issuer() -> AsyncIterator[tuple[KeysServer, str]]:
    keys = KeysServer()
    server = await asyncio.start_server(keys.handle, "127.0.0.1", 0)
    yield keys, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    server.close()
    await server.wait_closed()


def jwks(**keys: Any) -> bytes:
    entries = [
        {**jwt.get_algorithm_by_name("EdDSA").to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}
        for name, key in keys.items()
    ]
    return orjson.dumps({"keys": entries})


async def test_keys_come_from_the_issuers_address_and_are_asked_for_with_measure(
    shop: Shop, issuer: tuple[KeysServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = issuer
    tokens = ShopTokens(trusting(shop.settings, "EdDSA", None, shop_token_jwks_url=url))
    server.status = "500 Broken"
    with pytest.raises(Refused) as refused:
        await tokens.claims(signed(ED, "EdDSA", headers={"kid": "a"}))
    assert refused.value.code is Code.DEGRADED, "not the shopper's fault, and it may work in a moment"
    server.status, server.document = "200 OK", jwks(a=ED)
    monkeypatch.setattr(shop_tokens, "JWKS_AGAIN_S", -1.0)
    assert (await tokens.claims(signed(ED, "EdDSA", headers={"kid": "a"}))).subject == "customer-7"
    asked = server.asked
    assert (await tokens.claims(signed(ED, "EdDSA", headers={"kid": "a"}))).subject == "customer-7"
    assert server.asked == asked, "known keys are not asked for again"

    newer = ed25519.Ed25519PrivateKey.generate()
    server.document = jwks(a=ED, b=newer)
    assert (await tokens.claims(signed(newer, "EdDSA", headers={"kid": "b"}))).subject == "customer-7"
    monkeypatch.setattr(shop_tokens, "JWKS_AGAIN_S", 30.0)
    asked = server.asked
    for number in range(5):
        with pytest.raises(Refused):
            await tokens.claims(signed(newer, "EdDSA", headers={"kid": f"made-up-{number}"}))
    assert server.asked == asked, "forged names of keys do not make us a client that hammers"
    # Its keys stay good while it is away.
    server.status = "500 Broken"
    monkeypatch.setattr(shop_tokens, "JWKS_MAX_AGE_S", -1.0)
    assert (await tokens.claims(signed(ED, "EdDSA", headers={"kid": "a"}))).subject == "customer-7"


@pytest.mark.parametrize(
    "changes",
    [{"shop_token_issuer": None}, {"shop_token_key": None}, {"shop_token_jwks_url": "https://acme.example/jwks"},
     {"shop_token_key": "short"}, {"shop_token_algorithm": "none"},
     {"shop_token_key": None, "shop_token_jwks_url": "https://acme.example/jwks"},
     {"shop_token_algorithm": "EdDSA", "shop_token_key": None, "shop_token_jwks_url": "http://acme.example/jwks",
      "environment": "production", "secret_key": "p" * 32}],
)  # fmt: skip
def test_half_a_configuration_ends_the_process_at_its_start(shop: Shop, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        trusting(shop.settings, **changes) if "shop_token_algorithm" not in changes else trusting(
            shop.settings, changes["shop_token_algorithm"], **{k: v for k, v in changes.items() if "algorithm" not in k}
        )
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("RS256", pem(ED)), ("EdDSA", pem(RSA)), ("EdDSA", "nonsense"), ("EdDSA", '{"keys": []}'), ("EdDSA", "{}"),
     ("RS256", pem(rsa.generate_private_key(public_exponent=65_537, key_size=1_024))),
     ("EdDSA", pem(ec.generate_private_key(ec.SECP256R1()))),
     ("EdDSA", ED.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption()).decode())],
)  # fmt: skip
def test_a_key_that_does_not_fit_is_refused_without_being_shown(shop: Shop, algorithm: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"key|JWKS") as refused:
        ShopTokens(trusting(shop.settings, algorithm, key))
    assert key[30:60] not in str(refused.value) or not key[30:60]
