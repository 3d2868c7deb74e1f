"""Published experiments as TOML specs, and what runs any of them."""
