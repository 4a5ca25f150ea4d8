"""The command line: what people and the Makefile call."""
