"""`reward-model serve`: the scorer behind HTTP, for trainers that score one sample a request.

`server.serve(model, settings)` runs it; `app.create_app(service)` is the ASGI application.
"""
