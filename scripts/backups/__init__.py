"""What backup, restore and drill are made of: programs of Postgres and Redis, age, and a folder.

Nothing here needs the service's settings but the two addresses: a restore begins on a machine that
has nothing yet. No secret stands on a command line; none is written anywhere but by who asked.
"""
