"""The `glow-deploy` command: parse, call glow_deploy or glow_core, print."""
