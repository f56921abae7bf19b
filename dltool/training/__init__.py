"""What every training loop needs: model files, run folders, checkpoints, seeds, schedules, averages, distribution."""
