"""Spoil valid files at random and read them: they are read, or refused in one sentence."""
