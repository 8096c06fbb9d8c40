"""The official file formats: bytes to arrays and back; nothing is extracted to the disk."""
