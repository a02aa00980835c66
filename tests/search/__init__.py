"""A search of every state of the engine: all small graphs, all calls, all faults, in every order."""
