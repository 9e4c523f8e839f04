"""The parts of the RGB-D example: generated rooms, a small network, its training, a real stereo pair, figures."""
