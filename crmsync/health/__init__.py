"""What tells people and machines how the sync is doing."""
