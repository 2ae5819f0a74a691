"""What was measured, for people: terminal, page, figures."""
