"""The client of a running service: `shitu.Client` and `shitu.AsyncClient`; docs/client.md has examples.

What is requested and how answers are read is written once, as generators that do no I/O (`exchange`); `blocking` and
`awaiting` drive them. Nothing here imports the models or the service.
"""
