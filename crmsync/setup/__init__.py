"""What `crmsync init` writes: settings, secrets, and the files that make a machine start crmsync on time."""
