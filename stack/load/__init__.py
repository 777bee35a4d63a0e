"""A load generator that costs about 10 µs a request, so that on two cores the platform is what is measured.

``closed_loop`` keeps a number of connections busy: for cost and throughput. ``open_loop`` lets requests arrive at
a fixed rate, whatever becomes of those before, and counts each latency from the scheduled arrival: for latency
without coordinated omission. Both send request bytes made beforehand and never send one twice.
"""

from stack.load.closed import closed_loop
from stack.load.messages import request_bytes
from stack.load.open_loop import open_loop
from stack.load.tally import Address, Kept, Tally, percentile

__all__ = ["Address", "Kept", "Tally", "closed_loop", "open_loop", "percentile", "request_bytes"]
