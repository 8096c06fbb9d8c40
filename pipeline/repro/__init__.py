"""DVC from outside: jobs side by side, lock files, clones, differences between commits."""
