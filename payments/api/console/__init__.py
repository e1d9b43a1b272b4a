"""The on-call console at `/admin/`: pages for people, made by the server, without a script.

`door` lets operators in and keeps forgers out, `sessions` knows who is signed in, `acts` does what
the JSON calls under `/admin` do, by the very same views. Each other module is a page or a few;
`mounting` brings them all to the app.
"""
