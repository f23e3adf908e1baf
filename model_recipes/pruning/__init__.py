"""What the prune stage is made of: costs of a shape, which parts matter, the plan, the cut, and its report."""
