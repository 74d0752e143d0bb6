"""The verbs of a release: functions over ports, no technology."""
