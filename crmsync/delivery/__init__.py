"""From mapped records to proof: batching, what is in flight, narrowing of refused batches."""

from crmsync.delivery.counts import Counts
from crmsync.delivery.courier import Courier
from crmsync.delivery.delivery import Delivery, Limits
from crmsync.delivery.dry import DryDestination
from crmsync.delivery.lag import RecordLag
from crmsync.delivery.tracker import Position, Tracker

__all__ = ["Counts", "Courier", "Delivery", "DryDestination", "Limits", "Position", "RecordLag", "Tracker"]
