"""An Experiture workspace on this machine: record writes, their jobs, and metadata."""

from crmsync.sandbox.experiture.service import ExperitureService

__all__ = ["ExperitureService"]
