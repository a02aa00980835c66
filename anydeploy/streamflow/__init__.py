"""anydeploy within StreamFlow, and StreamFlow's connectors within anydeploy. The only importers of streamflow."""
