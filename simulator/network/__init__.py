"""Pipes: their graph, how water spreads over them and how heat travels along them."""
