"""The buy endpoint in the OpenAPI document: it is no FastAPI route, so it is described by hand, once."""

from typing import Any

BUY_PATH = "/api/v1/buy/{link}"


def buy_path_item(problem_schema: dict[str, Any]) -> dict[str, Any]:
    """The path item; ``problem_schema`` is the shape that every error answer has."""

    def problem(description: str) -> dict[str, Any]:
        return {"description": description, "content": {"application/problem+json": {"schema": problem_schema}}}

    return {
        "post": {
            "tags": ["shopper"],
            "summary": "Buy",
            "description": "An attempt to take units with one's own secret link. The same Idempotency-Key gives the "
            "same ticket, whatever has happened since; keep it until the ticket is terminal.",
            "operationId": "buy",
            "security": [{"shopper": []}],
            "parameters": [
                {"name": "link", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 128}},
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": True,
                    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
                },
            ],
            "requestBody": {
                "required": False,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "quantity": {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1}
                            },
                        }
                    }
                },
            },
            "responses": {
                "202": {
                    "description": "A unit is set aside; the order follows.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["outcome", "ticket", "ticket_path", "position", "poll_after_ms"],
                                "properties": {
                                    "outcome": {"type": "string", "enum": ["RESERVED", "REPLAYED"]},
                                    "ticket": {"type": "string"},
                                    "ticket_path": {"type": "string"},
                                    "position": {"type": "integer", "minimum": 0},
                                    "poll_after_ms": {"type": "integer", "minimum": 0},
                                },
                            }
                        }
                    },
                },
                "400": problem("INVALID: unreadable body, or the Idempotency-Key is missing or malformed"),
                "401": problem("UNAUTHENTICATED"),
                "403": problem("NOT_OPEN, with when to come back"),
                "404": problem("LINK_INVALID: forged, foreign, expired or revoked, told apart by nobody"),
                "409": problem("SOLD_OUT, NOT_ENOUGH, LIMIT_REACHED or PAUSED"),
                "410": problem("ENDED"),
                "413": problem("TOO_LARGE"),
                "415": problem("UNSUPPORTED_MEDIA_TYPE"),
                "422": problem("INVALID_FIELD or KEY_REUSED"),
                "429": problem("REPEATED or THROTTLED, with when to come back"),
                "503": problem("BACKLOG or DEGRADED, with when to come back: send the same key again"),
            },
        }
    }
