"""The lessons in a real browser: a package, so that browser and server stop before other tests begin."""
