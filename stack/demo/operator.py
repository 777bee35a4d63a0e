"""The operator of the sample sale: signs in and does everything through the operator API."""

import uuid
from typing import Any

from stack.demo.http import Answer, Client
from stack.errors import StackError


class OperatorClient:
    """One signed-in operator."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._token = ""

    async def sign_in(self, email: str, password: str) -> None:
        """Start a session."""
        answer = await self._client.request(
            "POST", "/api/v1/operator/session", body={"email": email, "password": password}
        )
        self._token = _expect(answer, 201)["access_token"]

    async def post(self, path: str, body: Any, *, expect: int = 200) -> Any:
        """A mutating call, with an idempotency key of its own. Raises StackError for another status."""
        answer = await self._client.request(
            "POST", f"/api/v1/{path}", token=self._token, body=body, headers={"Idempotency-Key": uuid.uuid4().hex}
        )
        return _expect(answer, expect)

    async def get(self, path: str) -> Any:
        """A reading call."""
        return _expect(await self._client.request("GET", f"/api/v1/{path}", token=self._token), 200)


def _expect(answer: Answer, status: int) -> Any:
    document = answer.json()
    if answer.status != status:
        code = document.get("code", "")
        detail = document.get("detail") or document.get("errors") or document.get("title", "")
        raise StackError(f"the API answered {answer.status} {code}: {detail}")
    return document
