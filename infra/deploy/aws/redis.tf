# The ledger. Its durability is Redis' own, and here is what that means:
#   ElastiCache (this file) copies writes to the replica after it has answered: when the primary's zone fails, the accepted
#   jobs of the last moments are lost. It has no append-only file.
#   MemoryDB writes to a log in several zones before it answers and would lose none. But it is always a Redis Cluster, which the
#   service refuses (redis_misconfigured): its scripts touch keys of several slots.
#   Where no accepted job may be lost: a Redis on EC2 with appendonly yes, appendfsync always, on an EBS volume.
resource "aws_elasticache_parameter_group" "redis" {
  name   = var.name
  family = "redis7"
  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_subnet_group" "redis" {
  name       = var.name
  subnet_ids = var.private_subnets
}

resource "random_password" "redis" {
  length  = 48
  special = false
}

resource "aws_elasticache_replication_group" "redis" {
  replication_group_id       = var.name
  description                = "The job ledger and the queues"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = var.redis_node
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = random_password.redis.result
  parameter_group_name       = aws_elasticache_parameter_group.redis.name
  subnet_group_name          = aws_elasticache_subnet_group.redis.name
  security_group_ids         = [aws_security_group.redis.id]
  snapshot_retention_limit   = 7
}

locals {
  redis_url = "rediss://:${random_password.redis.result}@${aws_elasticache_replication_group.redis.primary_endpoint_address}:6379/0"
}
