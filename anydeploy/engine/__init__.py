"""The decisions of a deployment manager: pure and synchronous, without an event loop, a clock or a connector."""
