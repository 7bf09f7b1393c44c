"""What the demo scripts share."""
