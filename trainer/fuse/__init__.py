"""Two bundles that perceive one thing each to one that perceives both."""
