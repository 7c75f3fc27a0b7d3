"""The Video Ingestion Service API."""
