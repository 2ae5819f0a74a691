"""`judge score`: a model is asked, its answers become levels."""
