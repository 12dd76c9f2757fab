"""Streamheal on many machines, with Kafka between them: ingest near the cameras, heal near the GPUs."""
