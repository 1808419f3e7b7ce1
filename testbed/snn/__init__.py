"""Spiking networks: backbones, bottleneck, training and export (SpikingJelly, torch)."""
