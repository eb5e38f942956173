"""The one process per lab that starts everything else and starts it again when it dies."""
