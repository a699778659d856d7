variable "region" {
  type        = string
  description = "Where everything is."
}

variable "name" {
  type        = string
  default     = "shitu"
  description = "Before the name of everything that is made."
}

variable "vpc_id" {
  type        = string
  description = "An existing network."
}

variable "private_subnets" {
  type        = list(string)
  description = "At least two, in different zones, with a way out for the courier (NAT)."
}

variable "public_subnets" {
  type        = list(string)
  description = "At least two, of the load balancer."
}

variable "certificate_arn" {
  type        = string
  description = "Of the host name of the service."
}

variable "web_image" {
  type        = string
  description = "The target `web` of infra/deploy/docker/Dockerfile, pushed to a registry."
}

variable "worker_image" {
  type        = string
  description = "The target `worker`."
}

variable "most_workers" {
  type        = number
  default     = 20
  description = "No more workers than these, whatever waits."
}

variable "least_workers" {
  type        = number
  default     = 0
  description = "0: none while no job is open; the first job then waits for a task to start."
}

variable "redis_node" {
  type        = string
  default     = "cache.t4g.medium"
  description = "Type of the two Redis nodes."
}
