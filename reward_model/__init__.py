"""Multi-dimensional reward models for RLHF: say *what* is good, not only which is better.

Public names stand in `__init__.pyi` and load on first use, so that `import reward_model` never
imports torch by itself.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
