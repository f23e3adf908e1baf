"""What the evaluate stage is made of: readers, protocols, controls, metrics with intervals, verdicts, the page."""
