"""What every stage stands on: errors, paths, progress, runtime, guard; files/ reads and writes."""
