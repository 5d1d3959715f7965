"""Messages about a start run, and their delivery to Slack.

`messages` writes the text, `blocks` makes it the body of a post, `connection` reads where it goes, `api`
calls Slack, and `errors` says what Slack's refusals mean. `scripts.slack_notify` puts them together.
"""
