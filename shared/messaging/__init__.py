"""Events over RabbitMQ that are neither lost nor acted on twice: topology, publisher, consumer.

nameko's own event handlers ack what failed, its publishers hang with a sick broker; these replace them.
"""

from shared.messaging.consumer import (
    Permanent,
    consume,
    consume_from,
    consume_lane,
    consume_together,
)
from shared.messaging.publisher import EventPublisher

__all__ = [
    "EventPublisher",
    "Permanent",
    "consume",
    "consume_from",
    "consume_lane",
    "consume_together",
]
