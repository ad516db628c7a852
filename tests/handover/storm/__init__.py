"""Workers that block again and again, and clients who count every answer."""
