"""What is measured of scored pairs."""
