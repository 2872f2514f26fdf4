"""What several commands share: options, output, targets of results, engines."""
