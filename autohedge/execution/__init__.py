"""Orders on their way: recorded before they are sent, followed until they end."""
