"""Blind-spot backbones, and the registry that builds one from a profile's description."""
