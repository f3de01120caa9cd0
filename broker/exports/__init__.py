"""Everything out, everything erased: what leaves no trace, how long things are kept."""
