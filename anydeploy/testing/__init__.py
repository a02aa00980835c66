"""The kit that proves a deployment manager right: scripted connectors, rules, an explorer of schedules, suites."""
