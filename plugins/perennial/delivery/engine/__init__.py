"""The engine: change sets in chunks through a tool, marked row by row; followed, split, read back, summed."""
