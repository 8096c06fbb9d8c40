"""From URL to arrays: download/, formats/, standins/, splitting, the registry of data set formats."""
