"""Each job broker in turn, for the tests that hold on both."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support import brokers
from tests.support.brokers import BrokerServer, running_broker


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=brokers.NAMES)
async def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BrokerServer]:
    """Each broker in turn, started once."""
    async with running_broker(request.param, tmp_path_factory.mktemp("broker")) as broker:
        yield broker
