"""The deterministic maker: configuration, sizing, quoting, reconciliation. Pure: no clock, no I/O, no random, no logging."""
