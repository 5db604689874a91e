"""The life of alarms: conditions, people, notification."""
