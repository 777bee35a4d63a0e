"""A small API that speaks the operator contract (DESIGN 7) over real HTTP, for tests of the console.

It keeps its sales in memory and remembers every request, so a test can count what the console sent.
Idempotency keys work as in the contract: a key seen before gives the first answer again, and acts
no second time. `fail` and `drop` stand for the faults a network has.
"""

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.console import peer_pages

PASSWORD = "correct horse battery"
NASTY = "<img src=x onerror=alert(1)> ![x](http://evil.test/p.png) :red[{{7*7}}] $x$"

EDITING = {"schedule": "scheduled", "pause": "paused", "resume": "live", "end": "ended", "cancel": "cancelled"}


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def person(name: str, role: str, merchant: str) -> dict[str, Any]:
    return {
        "operator_id": f"op-{name}",
        "email": f"{name}@{merchant}.test",
        "role": role,
        "merchant": {"id": f"m-{merchant}", "name": merchant.capitalize()},
    }


OPERATORS = {
    "token-owner": person("olga", "owner", "ember"),
    "token-operator": person("otto", "operator", "ember"),
    "token-auditor": person("ada", "auditor", "ember"),
    "token-other": person("mallory", "owner", "rival"),
}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    token: str


SETTINGS: dict[str, Any] = {
    "/operator/operators": {
        "operators": [
            {"id": "op-olga", "email": "olga@ember.test", "role": "owner", "disabled": False,
             "created_at": "2026-01-01T00:00:00Z"},
        ]
    },
    "/operator/sessions": {
        "sessions": [
            {"id": "s-1", "operator_id": "op-olga", "email": "olga@ember.test", "current": True,
             "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T12:00:00Z"},
        ]
    },
    "/operator/channel": {
        "configured": True,
        "templates": [{"kind": "order_confirmed", "subject": "It is yours", "body": "Good news."}],
    },
    "/operator/channels": {
        "channels": [
            {"id": "ch-1", "name": "Team chat", "audience": "team", "service": "slack", "kinds": ["order_confirmed"],
             "created_at": "2026-01-01T00:00:00Z", "pending": 0, "sent": 3, "dead": 1, "last_error": "error=500."},
        ],
        "services": ["mailtos", "slack"],
    },
    "/operator/channels/ch-1/test": {"sent": False, "reason": "no answer within 10 s"},
    "/operator/templates": {
        "templates": [
            {"kind": "order_confirmed", "own": True, "subject": "Yours: {item}", "body": "Good news.",
             "placeholders": [{"name": "item", "meaning": "the product's name"}]},
        ]
    },
    "/operator/templates/order_confirmed/check": {
        "problems": [{"field": "body", "message": "There is no {itm} here."}]
    },
    "/operator/templates/order_confirmed": {},
    "/operator/defaults": {
        "throttle": {"rate_per_s": 500.0, "burst": 1000, "wait_budget_ms": 0, "repeat_window_ms": 10000},
        "link": {"ttl_s": 300, "overlap_s": 0}, "payment": {"hold_s": 900}, "own": True, "platform": {},
    },
    "/audit/activity/verify": {
        "verified": False, "entries": 41, "head": {"entries": 50, "digest": "ab" * 32},
        "checked_at": "2026-01-01T00:00:00Z",
        "first_broken": {"reason": "altered", "entry": 42, "kind": "sale.pause", "at": "2026-01-01T00:00:00Z"},
    },
}  # fmt: skip


def make_sale(sale_id: str, status: str = "draft", **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    opens = now - timedelta(minutes=5) if status in {"live", "paused"} else now + timedelta(days=1)
    sale: dict[str, Any] = {
        "id": sale_id,
        "slug": f"sale-{sale_id}",
        "title": f"Sale {sale_id}",
        "status": status,
        "phase": status,
        "opens_at": stamp(opens),
        "closes_at": stamp(opens + timedelta(hours=1)),
        "time_zone": "Europe/Berlin",
        "lead_s": 600,
        "items": [
            {
                "id": f"{sale_id}-1", "sku": "TEE-M", "name": "Tee, size M",
                "price": {"amount_minor": 1900, "currency": "EUR"}, "allotment": 200, "available": 54,
                "reserved": 24, "sold": 122, "per_shopper_limit": 1,
            }
        ],
        "throttle": {"rate_per_s": 500.0, "burst": 1000, "wait_budget_ms": 0, "repeat_window_ms": 10000},
        "link": {"ttl_s": 300, "overlap_s": 0, "epoch": 6},
        "payment": {"required": True, "hold_s": 900},
        "description": "", "language": "en", "delivery_required": False, "recovery": "automatic",
        "durability": "everysec",
        "version": 3,
        "page_path": f"/s/sale-{sale_id}/",
        "created_at": stamp(now - timedelta(days=1)),
    }  # fmt: skip
    return sale | changes


@dataclass
class Peer:
    """The API's state. Handlers change it under `lock`."""

    sales: dict[str, dict[str, Any]] = field(default_factory=dict)
    owner_of: dict[str, str] = field(default_factory=dict)
    skus: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    activity: list[dict[str, Any]] = field(default_factory=list)
    live_extra: dict[str, Any] = field(default_factory=dict)
    home: dict[str, Any] = field(default_factory=dict)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    lives: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    signed: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    page_versions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    page_changes: list[dict[str, Any]] = field(default_factory=list)
    previews: int = 0
    revoked: set[str] = field(default_factory=set)
    seen: list[Seen] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    acted: list[str] = field(default_factory=list)
    fail: dict[tuple[str, str], tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """(method, end of path) → the problem to answer once."""
    drop: set[tuple[str, str]] = field(default_factory=set)
    """(method, end of path) → act, then cut the connection without an answer, once."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _server: ThreadingHTTPServer | None = None

    def start(self) -> "Peer":
        peer = self

        class Handler(_Handler):
            state = peer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    @property
    def origin(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def add(self, sale: dict[str, Any], merchant: str = "m-ember") -> dict[str, Any]:
        self.sales[sale["id"]] = sale
        self.owner_of[sale["id"]] = merchant
        return sale

    def sent(self, method: str, ending: str = "") -> list[Seen]:
        """Requests of that method whose path ends so."""
        with self.lock:
            return [s for s in self.seen if s.method == method and s.path.endswith(ending)]


class _Problem(Exception):
    def __init__(self, status: int, code: str, **extra: Any) -> None:
        self.status = status
        self.body = {"type": "about:blank", "title": code, "status": status, "code": code, **extra}


class _Handler(BaseHTTPRequestHandler):
    state: Peer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Tests print enough."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/api/v1")
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = self.headers.get("Content-Type", "application/json") == "application/json"
        body = (json.loads(raw) if is_json else raw) if raw else None
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        peer = self.state
        with peer.lock:
            peer.seen.append(Seen(method, path, query, dict(self.headers.items()), body, token))
            for key in list(peer.fail):
                if key[0] == method and path.endswith(key[1]):
                    status, problem = peer.fail.pop(key)
                    self._answer(status, problem, kind="application/problem+json")
                    return
            try:
                status, answer = self._idempotent(method, path, body, token, query)
            except _Problem as problem:
                self._answer(problem.status, problem.body, kind="application/problem+json")
                return
            for key in list(peer.drop):
                if key[0] == method and path.endswith(key[1]):
                    peer.drop.discard(key)
                    self.close_connection = True
                    return
        self._answer(status, answer)

    def _idempotent(self, method: str, path: str, body: Any, token: str, query: dict[str, str]) -> tuple[int, Any]:
        if method == "GET" or path in {"/operator/session", "/operator/prose"}:
            return self._route(method, path, body, token, query)
        key = self.headers.get("Idempotency-Key")
        if not key:
            raise _Problem(400, "INVALID")
        if key not in self.state.answers:
            self.state.answers[key] = self._route(method, path, body, token, query)
            self.state.acted.append(f"{method} {path}")
        return self.state.answers[key]

    def _sign_in(self, body: Any) -> tuple[int, Any]:
        for bearer, who in OPERATORS.items():
            if who["email"] == body["email"] and body["password"] == PASSWORD:
                ends = stamp(datetime.now(UTC) + timedelta(hours=8))
                return 201, {"access_token": bearer, "role": who["role"], "expires_at": ends}
        raise _Problem(401, "UNAUTHENTICATED")

    def _route(self, method: str, path: str, body: Any, token: str, query: dict[str, str]) -> tuple[int, Any]:
        peer = self.state
        if path == "/operator/session" and method == "POST":
            return self._sign_in(body)
        me = OPERATORS.get(token)
        if me is None or token in peer.revoked:
            raise _Problem(401, "UNAUTHENTICATED")
        if path == "/operator/session":
            peer.revoked.add(token)
            return 204, None
        if path == "/operator/me":
            return 200, me
        if path != "/operator/prose" and method != "GET" and path.startswith("/operator") and me["role"] == "auditor":
            raise _Problem(403, "FORBIDDEN")
        about_pages = peer_pages.answer(peer, method, path, query, body)
        if about_pages is not None:
            return about_pages
        if path in SETTINGS:
            return 200, SETTINGS[path]
        if path == "/operator/home":
            return 200, {"now": stamp(datetime.now(UTC)), "live": [], "next": [], "needs": [],
                         "dependencies": {"database": "up", "gate": "up"}} | peer.home  # fmt: skip
        if path == "/operator/dead-letters":
            return 200, {"dead_letters": peer.dead_letters}
        if path == "/audit/activity":
            return 200, {"activity": peer.activity}
        if path.startswith(("/operator/notifications/", "/operator/dead-letters/", "/operator/operators")):
            return 200, {"id": "x", "status": "pending"}
        if path.startswith("/operator/skus"):
            return self._skus(method, path, body)
        if path == "/operator/sales":
            return self._sales(method, body, me, query)
        return self._one_sale(method, path, body, me, query)

    def _one_sale(
        self, method: str, path: str, body: Any, me: dict[str, Any], query: dict[str, str]
    ) -> tuple[int, Any]:
        peer = self.state
        pieces = path.strip("/").split("/")
        if pieces[:2] == ["audit", "reconciliations"] and method == "POST":
            if me["role"] == "operator":
                raise _Problem(403, "FORBIDDEN")
            run = next(r for runs in peer.runs.values() for r in runs if r["id"] == pieces[2])
            line = {"id": "c", "run_id": run["id"], "verdict": run["verdict"], "remark": body["reason"],
                    "at": stamp(datetime.now(UTC)), "email": me["email"], "role": me["role"]}  # fmt: skip
            peer.signed.insert(0, line)
            return 201, {"id": "c", "reconciliation_id": run["id"], "verdict": run["verdict"]}
        if pieces[:2] == ["audit", "reconciliations"]:
            return 200, next(r for runs in peer.runs.values() for r in runs if r["id"] == pieces[2])
        sale = peer.sales.get(pieces[2])
        if sale is None or peer.owner_of[sale["id"]] != me["merchant"]["id"]:
            raise _Problem(404, "NOT_FOUND")
        if pieces[0] == "audit":
            return self._audit(method, pieces[3], sale)
        if len(pieces) == 3:
            return self._sale(method, sale, body)
        if len(pieces) > 4 and pieces[3] == "orders":
            life = peer.lives[pieces[4]]
            if method == "POST":
                life["status"] = {"cancel": "cancelled", "refunded": "refunded"}[pieces[5]]
            return 200, life
        return self._read(sale, pieces[3], query) if method == "GET" else self._act(sale, pieces[3], body or {})

    def _skus(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        skus = self.state.skus
        if method == "GET":
            return 200, {"skus": skus}
        if method == "PATCH":
            found = next(s for s in skus if path.endswith(s["id"]))
            found.update(body)
            return 200, found
        if any(s["sku"] == body["sku"] for s in skus):
            raise _Problem(409, "CONFLICT", errors=[{"field": "sku", "message": "already taken"}])
        new = {"id": f"sku-{len(skus) + 1}", "created_at": stamp(datetime.now(UTC)), **body}
        skus.insert(0, new)
        return 201, new

    def _sales(self, method: str, body: Any, me: dict[str, Any], query: dict[str, str]) -> tuple[int, Any]:
        peer = self.state
        if method == "POST":
            made = make_sale(f"new-{len(peer.sales)}", **{k: v for k, v in body.items() if k != "items"})
            made["items"] = [
                {"id": f"i{n}", "name": i["sku"], "available": i["allotment"], "reserved": 0, "sold": 0, **i}
                for n, i in enumerate(body["items"])
            ]
            return 201, peer.add(made, me["merchant"]["id"])
        mine = [s for s in peer.sales.values() if peer.owner_of[s["id"]] == me["merchant"]["id"]]
        found = [
            s
            for s in mine
            if query.get("q", "").lower() in s["title"].lower() and query.get("status", s["status"]) == s["status"]
        ]
        return 200, {"sales": found}

    def _sale(self, method: str, sale: dict[str, Any], body: Any) -> tuple[int, Any]:
        if method == "PATCH":
            if self.headers.get("If-Match") != f'"{sale["version"]}"':
                raise _Problem(412, "STALE")
            sale.update(body)
            sale["version"] += 1
        elif method == "DELETE":
            del self.state.sales[sale["id"]]
            return 204, None
        return 200, sale

    def _act(self, sale: dict[str, Any], action: str, body: dict[str, Any]) -> tuple[int, Any]:
        sale["status"] = EDITING.get(action, sale["status"])
        if action in {"top-up", "reduce"}:
            item = next(i for i in sale["items"] if i["sku"] == body["sku"])
            step = body["quantity"] * (1 if action == "top-up" else -1)
            if item["available"] + step < 0:
                raise _Problem(409, "BELOW_COMMITTED")
            item["allotment"] += step
            item["available"] += step
        if action == "throttle":
            sale["throttle"] = {k: v for k, v in body.items() if k not in {"reason", "sku"}}
        sale["version"] += 1
        return 200, sale

    def _read(self, sale: dict[str, Any], what: str, query: dict[str, str]) -> tuple[int, Any]:
        peer = self.state
        now = datetime.now(UTC)
        if what == "preflight":
            ready = sale["status"] != "draft"
            checks = [
                {"name": "items", "ok": True, "detail": "1 item with 200 units"},
                {"name": "opening_time", "ok": ready, "detail": "Not scheduled yet", "action": "Schedule the sale"},
            ]
            return 200, {"ready": ready, "checks": checks}
        if what == "replay":
            return 200, replay_of(sale)
        if what == "throughput":
            return 200, {"series": throughput_series(now, int(query.get("seconds", 300)))}
        if what == "live":
            return 200, live_of(sale, now) | peer.live_extra
        if what == "orders":
            start = int(query.get("cursor", 0))
            shown = peer.orders[start : start + 50]
            more = {"next_cursor": str(start + 50)} if start + 50 < len(peer.orders) else {}
            return 200, {"orders": shown, **more}
        if what == "notifications":
            return 200, {"notifications": []}
        return 200, {"activity": peer.activity}

    def _audit(self, method: str, what: str, sale: dict[str, Any]) -> tuple[int, Any]:
        runs = self.state.runs.setdefault(sale["id"], [])
        if what == "reconciliations":
            if method == "POST":
                at = stamp(datetime.now(UTC))
                run = {
                    "id": f"run-{len(runs) + 1}", "verdict": "clean", "oversold": 0, "stranded": 0, "drift": 0,
                    "duplicates": 0, "findings": [], "started_at": at, "finished_at": at, "trigger": "operator",
                }  # fmt: skip
                runs.insert(0, run)
                return 201, run
            return 200, {"reconciliations": [{k: v for k, v in r.items() if k != "findings"} for r in runs]}
        if what == "sign-offs":
            return 200, {"sign_offs": self.state.signed}
        if what == "entries":
            return 200, {"entries": self.state.entries}
        if what == "ledger":
            return 200, {"entry": "allot", "sale": sale["id"]}
        at = stamp(datetime.now(UTC))
        items = [
            {
                "sku": i["sku"], "allotment": i["allotment"],
                "gate": {"available": i["available"], "held": i["reserved"], "read_at": at},
                "ledger": {"available": i["available"], "reserved": i["reserved"], "sold": i["sold"], "read_at": at},
                "in_flight": 0, "drift": 0,
            }
            for i in sale["items"]
        ]  # fmt: skip
        return 200, {"items": items, "oversold": 0, "stranded": 0, "drift": 0}

    def _answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        if isinstance(body, bytes):
            raw, kind = body, "image/webp"
        else:
            raw = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        if isinstance(body, dict) and "version" in body:
            self.send_header("ETag", f'"{body["version"]}"')
        self.end_headers()
        self.wfile.write(raw)


def live_of(sale: dict[str, Any], now: datetime) -> dict[str, Any]:
    at = stamp(now)
    fault = {"fault": sale["fault"]} if "fault" in sale else {}
    return fault | {
        "status": sale["status"],
        "phase": sale["phase"],
        "now": now.isoformat().replace("+00:00", "Z"),
        "view_age_ms": 120,
        "order_lag_ms": 84,
        "throttle": sale["throttle"],
        "drift": 0,
        "pending_releases": 0,
        "opens_at": sale["opens_at"],
        "closes_at": sale["closes_at"],
        "items": [
            {k: i[k] for k in ("sku", "allotment", "available", "reserved", "sold")}
            | {"gate": {"available": i["available"], "held": i["reserved"], "read_at": at}}
            for i in sale["items"]
        ],
        "outcomes": {"RESERVED": 146, "SOLD_OUT": 0, "REPEATED": 90_000},
        "backlog": 12,
        "dependencies": {"database": "up", "gate": "up"},
        "events": [
            {
                "id": "e2",
                "at": stamp(now - timedelta(seconds=120)),
                "actor": "olga@ember.test",
                "kind": "sale.throttle",
                "reason": "calmer than rehearsal",
                "outcome": "done",
                "before": {"status": "live", "throttle": {**sale["throttle"], "rate_per_s": 300.0}},
                "after": {"status": "live", "throttle": sale["throttle"]},
            },
            {
                "id": "e1",
                "at": stamp(now - timedelta(seconds=200)),
                "actor": "platform",
                "kind": "sale.opened",
                "after": {},
                "outcome": "done",
            },
        ],
        "audit": {"checked_at": at, "drift": 0, "oversold": 0, "stranded": 0, "verdict": "clean"},
    }


def throughput_series(now: datetime, seconds: int) -> list[dict[str, Any]]:
    series = []
    opened = now - timedelta(seconds=200)
    for back in range(seconds, 0, -1):
        at = (now - timedelta(seconds=back)).replace(microsecond=0)
        if at < opened:
            if back % 7 == 0:
                series.append({"at": stamp(at), "NOT_OPEN": 12})
            continue
        wave = 1 / (1 + (at - opened).total_seconds() / 40)
        series.append(
            {
                "at": stamp(at), "RESERVED": int(400 * wave), "THROTTLED": int(8_000 * wave),
                "REPEATED": int(6_000 * wave), "SOLD_OUT": int(3_000 * wave), "LINK_REVOKED": int(500 * wave),
            }
        )  # fmt: skip
    return series


def replay_of(sale: dict[str, Any]) -> dict[str, Any]:
    """Three steps of a sale of 200: all there, some reserved, all sold."""
    opens = datetime.fromisoformat(sale["opens_at"])
    steps = ((200, 0, 0), (54, 24, 122), (0, 0, 200))
    points = [
        {
            "at": stamp(opens + timedelta(seconds=10 * index)), "allotment": 200, "available": available,
            "reserved": reserved, "sold": sold, "outcomes": {"RESERVED": 10 * index, "SOLD_OUT": 40},
            "delay_p50_ms": 20, "delay_p95_ms": 80,
        }
        for index, (available, reserved, sold) in enumerate(steps)
    ]  # fmt: skip
    return {
        "since": points[0]["at"], "until": points[-1]["at"], "step_s": 10, "outcomes_known": True, "points": points,
        "events": [],
    }  # fmt: skip
