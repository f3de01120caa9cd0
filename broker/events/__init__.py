"""Events: the things the person did, from a web address to a sealed row."""
