"""Experiture as a destination."""

from crmsync.destinations.experiture.records import ExperitureDestination

__all__ = ["ExperitureDestination"]
