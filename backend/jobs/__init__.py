"""Jobs: named contracts between those who ask for work and the workers that do it.

A job is a nudge. Everything it does is found in the ledger or the gate, so a lost one delays work until the clock's
next tick and loses nothing; a repeated one finds nothing left to do. Nothing on the buy path enqueues.
"""

from backend.jobs import contracts
from backend.jobs.broker import JobBroker, make_broker
from backend.jobs.contracts import ALL, Job, Queue
from backend.jobs.enqueue import Enqueue, Enqueuer

__all__ = ["ALL", "Enqueue", "Enqueuer", "Job", "JobBroker", "Queue", "contracts", "make_broker"]
