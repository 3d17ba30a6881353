"""Readers: one published dataset a file, from what its owner released to a store."""
