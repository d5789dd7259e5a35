"""What bench/neighbors.py is made of: contenders, the machine, pages drawn from the record."""
