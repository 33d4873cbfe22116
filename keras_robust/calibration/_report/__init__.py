"""All measures at once: as text, table and page."""
