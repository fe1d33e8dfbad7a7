"""The laws, tried on whole runs that end at any of their steps."""
