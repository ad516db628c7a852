"""Doors for frameworks: each module is a thin shim, and needs its framework to be imported."""
