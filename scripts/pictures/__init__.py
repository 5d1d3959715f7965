"""Make the pictures of README and docs: screenshots of the wall in a headless Chromium."""
