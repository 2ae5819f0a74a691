"""Chats: messages however they are written, their turns, thoughts and marks, templates of policies.

What it exports stands in `__init__.pyi` and loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
