"""What a run leaves behind: the SQL journal, the CSV log and the canonical event stream."""
