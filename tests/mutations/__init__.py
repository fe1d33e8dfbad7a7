"""Small patches, each of which breaks one of the laws in docs/reliability.md."""
