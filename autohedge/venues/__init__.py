"""Where orders go: adapters of the port `Venue`. Paper is the one that needs no venue."""
