"""Is this Security Server well, and if not, what is the one thing that is wrong?"""
