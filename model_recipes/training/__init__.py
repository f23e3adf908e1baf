"""What trainings share: the loop, several processes, and the losses and lessons of adapter and recovery."""
