"""crmsync keeps the profiles of an Experiture CDP workspace in step with a CRM."""

__version__ = "0.1.0"
