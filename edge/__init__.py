"""What runs beside a meter, truck or weighbridge; speaks only MQTT."""
