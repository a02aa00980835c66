"""A StreamFlow plugin for the tests: environments that nest in one another and need no container engine."""
