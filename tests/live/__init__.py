"""The whole service and who watches it, as real processes: each alert fires and clears."""
