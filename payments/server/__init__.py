"""The web server's own side: connections that are slow, broken or over the limit.

Gunicorn parses and frames HTTP; what stands here decides when a request is worth a thread, and how
long an answer may take. It knows nothing of Flask or of money. `ops/gunicorn.conf.py` names it.
"""
