"""The front door: MQTT messages become frames, durably, then are acknowledged."""
