"""The words of the field as values: instruments, market events, orders, fills, inventory, mandates. Pure."""
