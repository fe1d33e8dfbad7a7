"""Salesforce as a source."""

from crmsync.sources.salesforce.source import SalesforceSource

__all__ = ["SalesforceSource"]
