"""What the paper's experiments are made of: their recipes, questions, steps, claims and the page."""
