"""From a file of rows to a checked, de-duplicated, formatted and split data set."""
