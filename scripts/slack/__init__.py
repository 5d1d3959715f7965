"""Slack, as far as it is used: what a connection leads to, a few calls, and what Slack's refusals mean."""
