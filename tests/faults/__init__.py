"""What goes wrong at the services and around them, and what crmsync does about it (docs/reliability.md)."""
