"""What a verification found, as plain values: the whole, its rows, and a file for each section."""
