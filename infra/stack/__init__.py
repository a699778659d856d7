"""The processes of the service: launcher, supervisor, health probes, whose installation a Redis belongs to."""
