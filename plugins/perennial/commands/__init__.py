"""The commands of the CLI, a module each: `configure(parser)` and `run(args) -> exit code`."""
