"""How fast this machine denoises, with which engine, and how near that is to what its processor can do."""
