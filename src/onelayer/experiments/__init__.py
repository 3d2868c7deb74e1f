"""Published experiments as TOML specs, and how they are run."""
