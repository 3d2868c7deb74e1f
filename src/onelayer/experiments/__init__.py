"""Published experiments as TOML specs, and the code that runs them."""
