"""What errors are measured in and held to: statistics, measures, yardsticks, gates; and float64 runs of graphs."""
