"""The `nsp` commands: parse, call one function, print."""
