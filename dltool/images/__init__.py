"""Images in and out: reading, writing, walking folders, sheets, GIFs."""
