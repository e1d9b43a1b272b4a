"""What belongs together, for on-call: reads alone, over the tables of every room, by their indexes.

`seeking` turns what a person types into what it may be, `stories` gathers everything tied to it in
time order, `rows` are the statements. Nothing here changes anything, and nobody below knows of it.
"""
