"""Slack, as far as it is used: what a connection leads to, two calls, and what Slack's refusals mean."""
