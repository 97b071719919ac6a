"""Running the desk and the maker in the real world: clocks, schedules, health."""
