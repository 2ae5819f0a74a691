"""How a text becomes token ids, and where these are kept."""
