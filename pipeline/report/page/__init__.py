"""One HTML page of all experiments that opens from a disk: its data, and its template, style and script."""
