"""Hardware-in-the-loop benchmark of spiking edge-cloud co-inference."""
