"""Events over RabbitMQ: topology, connections, dead letters, rights. What listens and publishes is in `shared.nameko_ext`."""
