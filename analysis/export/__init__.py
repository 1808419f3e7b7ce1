"""Results for others: an archive that can be cited (RO-Crate), and runs for a tracker of experiments (MLflow)."""
