"""Private servers for tests and `make stack`: a RabbitMQ and a PostgreSQL that nobody else uses.

They listen on free ports of 127.0.0.1, keep all they write in one folder, take nothing from the system's own servers
(which may run or not), and end with the process that started them. Both work as root and as an ordinary user.
"""

from local.servers.children import (
    PORTS,
    Child,
    ServerMissing,
    StartError,
    free_port,
    is_free,
    own_folder,
)
from local.servers.postgresql import PostgreSQL
from local.servers.rabbitmq import RabbitMQ

__all__ = [
    "PORTS",
    "Child",
    "PostgreSQL",
    "RabbitMQ",
    "ServerMissing",
    "StartError",
    "free_port",
    "is_free",
    "own_folder",
]
