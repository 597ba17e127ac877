"""Mutation testing: faults in the code of the runtime, one at a time, and whether tests notice."""
