"""Which messages are ours: what else lies on a queue is refused before dramatiq's own threads meet it.

A message that names another queue than the one it lay on ends dramatiq's worker thread (it looks the queue's consumer
up when the work is done), one that cannot be decoded stops a Redis consumer for three seconds. Nothing of ours sends
such messages; a fault elsewhere, or a person with a client, may.
"""

from collections.abc import Mapping
from typing import Any

from dramatiq import MessageProxy
from dramatiq.common import q_name

from backend.jobs.contracts import ALL

_QUEUE_OF = {job.name: job.queue.value for job in ALL}


def is_ours(message: MessageProxy, queue_name: str) -> bool:
    """Whether ``message``, found on ``queue_name`` (a job's queue, or its delay queue), is one that we send."""
    fields: dict[str, Any] = message.asdict()
    return (
        is_well_formed(fields)
        and _QUEUE_OF.get(fields["actor_name"]) == q_name(queue_name)
        and fields["queue_name"] == queue_name
    )


def is_well_formed(fields: Mapping[str, Any]) -> bool:
    """Whether every field has the type that dramatiq believes it has: JSON can hold anything."""
    return (
        isinstance(fields["actor_name"], str)
        and isinstance(fields["message_id"], str)
        and isinstance(fields["message_timestamp"], int)
        and isinstance(fields["options"], dict)
        and fields["kwargs"] == {}
        and all(isinstance(one, str | int) for one in fields["args"])
    )
