"""Hostile input by the hundred thousand, over every door at once, from a seed. `make fuzz MESSAGES=100000 REQUESTS=100000 SEED=1`"""
