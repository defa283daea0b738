"""What a new source, ladder, likelihood, stage or command takes: one file each, and a line that a test adds."""
