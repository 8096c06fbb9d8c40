"""Reading and writing files: atomic writes, arrays, tables, parameter pickles; no reader runs code."""
