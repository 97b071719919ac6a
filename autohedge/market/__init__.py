"""Market data: feeds, the sequence rules of the book, statistics, recordings, instrument rules."""
