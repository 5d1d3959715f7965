"""The CPU: everything that runs inside a pod."""
