"""What happened in a time of trouble: `happenings` reads the audit and logs, `watched` asks
Prometheus, `telling` writes both down as Markdown.
"""
