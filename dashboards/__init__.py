"""Panels as data; the live board and Grafana render them."""
