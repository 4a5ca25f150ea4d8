"""Pure functions from (resource, world, settings, now) to a Plan: no I/O, no clock, no log."""
