"""Protocols, checked in all their states."""
