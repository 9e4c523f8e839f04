"""Bare loops: contiguous arrays and integers in, nothing checked, nothing allocated that grows with the problem."""
