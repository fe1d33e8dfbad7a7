"""A Salesforce org on this machine: logins, queries, bulk jobs, metadata and replication."""

from crmsync.sandbox.salesforce.service import SalesforceService

__all__ = ["SalesforceService"]
